/** A file that the page consists of. */
export interface PageFile {
  readonly path: string;
  readonly type: string;
  load(): Promise<{ readonly text: string; readonly tag: string }>;
}

export const pageFiles: readonly PageFile[] = [];
