// Prints the adapter that WebGPU finds, and fails where it finds none.
import { create } from 'webgpu';

const adapter = await create([]).requestAdapter();
if (!adapter) {
  console.log(`no adapter with ${process.env.VK_DRIVER_FILES ?? 'the drivers of this machine'}`);
  process.exit(1);
}
console.log(`WebGPU adapter: ${adapter.info.description}`);
process.exit(0);
