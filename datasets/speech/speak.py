"""Speaks sentences with espeak-ng's library and says which phoneme begins where.

Reads one JSON object a line: {"voice": "en-us+f1", "speed": 175, "pitch": 50, "text": "..."}. Answers each with a line
{"rate": 22050, "samples": N, "phonemes": [["h", 0], ["@", 1102], ...]}, positions in samples, and then N samples,
signed 16-bit little-endian. Needs Python 3 and Debian's libespeak-ng1, no package of Python's.

espeak-ng's command does not report times; its library does, as events (speak_lib.h, revision 12).

Breathy voices are made with random numbers: those of the C library, which whatever else is loaded may draw from too,
or from release 1.52 the library's own, seeded by the clock. Both are seeded again before each sentence.
"""

import ctypes
import ctypes.util
import json
import sys

SYNCHRONOUS, PHONEME_EVENTS, DO_NOT_EXIT = 2, 1, 0x8000
EVENT_END, EVENT_PHONEME = 0, 7
SPEED, PITCH = 1, 3
POSITION_CHARACTER, CHARACTERS_UTF8 = 1, 1


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def main():
    name = ctypes.util.find_library("espeak-ng")
    if name is None:
        sys.exit("libespeak-ng is not installed: apt-get install espeak-ng")
    library = ctypes.CDLL(name)
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | DO_NOT_EXIT)
    if rate <= 0:
        sys.exit("espeak-ng does not find its data: apt-get install espeak-ng-data")
    sound, phonemes = bytearray(), []

    def receive(samples, count, events):
        if samples and count > 0:
            sound.extend(ctypes.string_at(samples, 2 * count))
        at = 0
        while events[at].type != EVENT_END:
            if events[at].type == EVENT_PHONEME:
                phonemes.append([events[at].name.decode("utf-8", "replace"), events[at].milliseconds * rate // 1000])
            at += 1
        return 0

    callback = Callback(receive)
    library.espeak_SetSynthCallback(callback)
    seed = getattr(library, "espeak_ng_SetRandSeed", None) or ctypes.CDLL(None).srand
    for line in sys.stdin:
        wanted = json.loads(line)
        if library.espeak_SetVoiceByName(wanted["voice"].encode()) != 0:
            sys.exit(f"espeak-ng has no voice {wanted['voice']}: espeak-ng --voices lists those it has")
        library.espeak_SetParameter(SPEED, wanted["speed"], 0)
        library.espeak_SetParameter(PITCH, wanted["pitch"], 0)
        seed(1)
        sound.clear()
        phonemes.clear()
        text = wanted["text"].encode() + b"\0"
        library.espeak_Synth(text, len(text), 0, POSITION_CHARACTER, 0, CHARACTERS_UTF8, None, None)
        library.espeak_Synchronize()
        head = {"rate": rate, "samples": len(sound) // 2, "phonemes": phonemes}
        sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + bytes(sound))
        sys.stdout.buffer.flush()


main()
