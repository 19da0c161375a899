/** The program of a thread of ONNX Runtime in WebAssembly: opens models, and runs them. */
import { env } from 'onnxruntime-web';
import { assert } from '../../core/errors.js';
import { serveRequests } from '../../core/kept-thread.js';
import { openSessionHere } from './runtime.js';
import type { OnnxSession } from './session.js';
import type { SessionReply, SessionRequest } from './session-lanes.js';

const sessions = new Map<number, OnnxSession>();
let opened = 0;

await serveRequests<{ readonly threads: number }, undefined, SessionRequest, SessionReply>(
  async ({ threads }) => {
    env.wasm.numThreads = threads;
    return {
      opened: undefined,
      async reply(request) {
        if (request.kind === 'open') {
          const { model, name } = request;
          sessions.set(++opened, await openSessionHere(model, { name, runtime: 'wasm' }));
          return { value: opened };
        }
        const session = sessions.get(request.session);
        assert(session !== undefined, `no session ${request.session}`);
        if (request.kind === 'dispose') {
          session.dispose();
          sessions.delete(request.session);
          return { value: undefined };
        }
        const value = await session.run(request.feeds, request.outputs);
        const arrays = new Set(Array.from(value.values(), ({ values }) => values.buffer));
        return { value, transferred: [...arrays].filter((array) => array instanceof ArrayBuffer) };
      },
      dispose: () => {
        for (const session of sessions.values()) session.dispose();
      },
    };
  },
);
