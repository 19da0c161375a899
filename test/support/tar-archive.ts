/** A file of an archive: its content, and its kind where it is no plain file. */
export interface ArchivedFile {
  readonly name: string;
  readonly content: Uint8Array | string;
  readonly kind?: '0' | '1' | '2' | '5' | 'L' | 'x';
}

/** A tar archive in POSIX's ustar format, as simple as one can be. */
export function tarArchive(files: readonly ArchivedFile[]): Buffer {
  const blocks = files.flatMap(({ name, content, kind = '0' }) => {
    const bytes = Buffer.from(content);
    const header = Buffer.alloc(512);
    header.write(name.slice(0, 100), 0);
    header.write('0000644\0', 100, 'latin1');
    header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
    header.write('        ', 148, 'latin1');
    header.write(kind, 156, 'latin1');
    header.write('ustar\x0000', 257, 'latin1');
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}
