/**
 * Whether the lists that the metadata of an Arrow message announces fit into it.
 *
 * apache-arrow believes the lengths it finds: one damaged byte in a schema can have it build lists of 2^31 fields, for
 * minutes and gigabytes. A list of n tables takes 4 n bytes, and one of n structs 16 n, so that a length which cannot
 * be true is seen at once. This is no proof that the message is sound; decoding it may still fail.
 *
 * @param metadata the flatbuffer of one message
 * Cost: microseconds.
 * Source: Arrow columnar format 1.5, `Message.fbs` and `Schema.fbs`; FlatBuffers internals.
 */
export function announcesWhatItHolds(metadata: Uint8Array): boolean {
  const view = new DataView(metadata.buffer, metadata.byteOffset, metadata.length);
  try {
    const message = view.getUint32(0, true);
    const header = target(view, message, slots.message.header);
    if (header === undefined) return false;
    const typeAt = place(view, message, slots.message.headerType);
    const type = typeAt === undefined ? 0 : view.getUint8(typeAt);
    const lists = { left: Math.floor(metadata.length / 4) };
    if (type === headerTypes.schema) {
      return (
        fieldsFit(view, header, slots.schema.fields, lists) &&
        listFits(view, header, slots.schema.customMetadata, 4) &&
        listFits(view, message, slots.message.customMetadata, 4)
      );
    }
    // The values of a dictionary are a batch of one column.
    const batch = type === headerTypes.dictionary ? target(view, header, slots.dictionary.data) : header;
    return (
      (type !== headerTypes.recordBatch && type !== headerTypes.dictionary) ||
      (batch !== undefined &&
        listFits(view, batch, slots.recordBatch.nodes, 16) &&
        listFits(view, batch, slots.recordBatch.buffers, 16) &&
        variadicFit(view, batch))
    );
  } catch (error) {
    if (error instanceof RangeError) return false; // an offset that leads out of the message
    throw error;
  }
}

/**
 * The same for the footer of a file in file format: its schema, and the lists of where blocks stand.
 *
 * @param footer the flatbuffer of the footer
 */
export function footerAnnouncesWhatItHolds(footer: Uint8Array): boolean {
  const view = new DataView(footer.buffer, footer.byteOffset, footer.length);
  try {
    const table = view.getUint32(0, true);
    const schema = target(view, table, slots.footer.schema);
    if (schema === undefined) return false;
    return (
      fieldsFit(view, schema, slots.schema.fields, { left: Math.floor(footer.length / 4) }) &&
      listFits(view, schema, slots.schema.customMetadata, 4) &&
      listFits(view, table, slots.footer.dictionaries, blockBytes) &&
      listFits(view, table, slots.footer.recordBatches, blockBytes) &&
      listFits(view, table, slots.footer.customMetadata, 4)
    );
  } catch (error) {
    if (error instanceof RangeError) return false; // an offset that leads out of the footer
    throw error;
  }
}

/**
 * Where the first dictionary or record batch of a file in file format stands.
 *
 * @param footer one of which {@link footerAnnouncesWhatItHolds} is true
 * @returns the byte; undefined where the file has none
 */
export function firstBlock(footer: Uint8Array): number | undefined {
  const view = new DataView(footer.buffer, footer.byteOffset, footer.length);
  const table = view.getUint32(0, true);
  const starts = [slots.footer.dictionaries, slots.footer.recordBatches].flatMap((slot) => {
    const list = target(view, table, slot);
    const length = list === undefined ? 0 : view.getUint32(list, true);
    return Array.from({ length }, (_, item) =>
      Number(view.getBigInt64((list ?? 0) + 4 + blockBytes * item, true)),
    );
  });
  return starts.length === 0 ? undefined : starts.reduce((least, start) => Math.min(least, start));
}

/**
 * The schema of a file in file format as the metadata of a message.
 *
 * @param footer one of which {@link footerAnnouncesWhatItHolds} is true
 */
export function schemaMetadataOf(footer: Uint8Array): Uint8Array {
  const inFooter = new DataView(footer.buffer, footer.byteOffset, footer.length);
  const table = inFooter.getUint32(0, true);
  const version = place(inFooter, table, slots.footer.version);
  const schema = target(inFooter, table, slots.footer.schema) ?? 0;
  // A root that leads to a message stands before the footer, whose own offsets are relative: the message's vtable with
  // four members, of which the last, the length of a body, is left out, and the message.
  const [vtable, message, start] = [4, 16, 32];
  const metadata = new Uint8Array(start + footer.length);
  metadata.set(footer, start);
  const view = new DataView(metadata.buffer);
  view.setUint32(0, message, true);
  for (const [at, value] of [message - vtable, 12, 4, 6, 8, 0].entries())
    view.setUint16(vtable + 2 * at, value, true);
  view.setInt32(message, message - vtable, true);
  view.setInt16(message + 4, version === undefined ? 0 : inFooter.getInt16(version, true), true);
  view.setUint8(message + 6, headerTypes.schema);
  view.setUint32(message + 8, start + schema - (message + 8), true);
  return metadata;
}

/**
 * The metadata of a batch or dictionary whose buffers were compressed, as they are when these are not.
 *
 * @param metadata one of which {@link announcesWhatItHolds} is true
 * @param buffers where each lies in the new body, as many as there are
 * @returns a copy, filled up to a multiple of 8 bytes; undefined where a member is missing that must be there
 */
export function uncompressedMetadata(
  metadata: Uint8Array,
  buffers: readonly { readonly offset: number; readonly length: number }[],
  bodyBytes: number,
): Uint8Array | undefined {
  // Tables of the same members may share a vtable, so that the batch gets one of its own, without a compression.
  const copy = new Uint8Array(padded(padded(metadata.length) + 2 * vtableLimit));
  copy.set(metadata);
  const view = new DataView(copy.buffer);
  try {
    const message = view.getUint32(0, true);
    const typeAt = place(view, message, slots.message.headerType);
    const bodyAt = place(view, message, slots.message.bodyLength);
    const header = target(view, message, slots.message.header);
    const isDictionary = typeAt !== undefined && view.getUint8(typeAt) === headerTypes.dictionary;
    const batch = isDictionary && header !== undefined ? target(view, header, slots.dictionary.data) : header;
    const list = batch === undefined ? undefined : target(view, batch, slots.recordBatch.buffers);
    const isEmpty = bodyBytes === 0; // then its length may be left out
    if (batch === undefined || list === undefined || (bodyAt === undefined && !isEmpty)) return undefined;
    if (view.getUint32(list, true) !== buffers.length) return undefined;

    const vtable = batch - view.getInt32(batch, true);
    const vtableBytes = view.getUint16(vtable, true);
    const end = padded(metadata.length);
    copy.set(copy.subarray(vtable, vtable + Math.min(vtableBytes, 2 * vtableLimit)), end);
    view.setUint16(end, Math.min(vtableBytes, 2 * vtableLimit), true);
    view.setUint16(end + slots.recordBatch.compression, 0, true);
    view.setInt32(batch, batch - end, true);
    if (bodyAt !== undefined) view.setBigInt64(bodyAt, BigInt(bodyBytes), true);
    for (const [at, { offset, length }] of buffers.entries()) {
      view.setBigInt64(list + 4 + 16 * at, BigInt(offset), true);
      view.setBigInt64(list + 12 + 16 * at, BigInt(length), true);
    }
    return copy;
  } catch (error) {
    if (error instanceof RangeError) return undefined; // an offset that leads out of the message
    throw error;
  }
}

const vtableLimit = 16; // members of two bytes: more than a batch has, together with the two sizes before them
const padded = (bytes: number) => 8 * Math.ceil(bytes / 8);

/** Of a block: its offset, the length of its metadata, and that of its body. */
const blockBytes = 24;

const headerTypes = { schema: 1, dictionary: 2, recordBatch: 3 } as const;

/** Positions in a vtable, in bytes: 4 for the first member of a table, 2 more for each after it. */
const slots = {
  message: { headerType: 6, header: 8, bodyLength: 10, customMetadata: 12 },
  footer: { version: 4, schema: 6, dictionaries: 8, recordBatches: 10, customMetadata: 12 },
  schema: { fields: 6, customMetadata: 8 },
  field: { children: 14, customMetadata: 16 },
  dictionary: { data: 6 },
  recordBatch: { nodes: 6, buffers: 8, compression: 10, variadicCounts: 12 },
} as const;

/** Where a member of a table stands; undefined when the table leaves it out. */
function place(view: DataView, table: number, slot: number): number | undefined {
  const vtable = table - view.getInt32(table, true);
  if (slot >= view.getUint16(vtable, true)) return undefined;
  const offset = view.getUint16(vtable + slot, true);
  return offset === 0 ? undefined : table + offset;
}

/** Where what a member refers to stands. */
function target(view: DataView, table: number, slot: number): number | undefined {
  const at = place(view, table, slot);
  return at === undefined ? undefined : at + view.getUint32(at, true);
}

function listFits(view: DataView, table: number, slot: number, itemBytes: number): boolean {
  const list = target(view, table, slot);
  return list === undefined || list + 4 + view.getUint32(list, true) * itemBytes <= view.byteLength;
}

/** Columns of views say how many buffers hold their texts: no more than there are. */
function variadicFit(view: DataView, header: number): boolean {
  const list = target(view, header, slots.recordBatch.variadicCounts);
  if (list === undefined) return true;
  if (!listFits(view, header, slots.recordBatch.variadicCounts, 8)) return false;
  const buffers = target(view, header, slots.recordBatch.buffers);
  let left = buffers === undefined ? 0 : view.getUint32(buffers, true);
  for (let item = 0; item < view.getUint32(list, true); item++) {
    const count = Number(view.getBigInt64(list + 4 + 8 * item, true));
    left -= count;
    if (count < 0 || left < 0) return false;
  }
  return true;
}

/** Fields have children, which are fields: `lists.left` bounds how many there can be, whatever refers to whatever. */
function fieldsFit(view: DataView, table: number, slot: number, lists: { left: number }): boolean {
  if (!listFits(view, table, slot, 4)) return false;
  const list = target(view, table, slot);
  const length = list === undefined ? 0 : view.getUint32(list, true);
  for (let item = 0; list !== undefined && item < length; item++) {
    if (--lists.left < 0) return false;
    const at = list + 4 + 4 * item;
    const field = at + view.getUint32(at, true);
    if (!listFits(view, field, slots.field.customMetadata, 4)) return false;
    if (!fieldsFit(view, field, slots.field.children, lists)) return false;
  }
  return true;
}
