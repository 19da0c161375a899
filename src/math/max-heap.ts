/** A priority queue of numbered items, largest priority first and of equal ones the lower item. */
export interface MaxHeap {
  readonly size: number;
  push(item: number, priority: number): void;
  /** Takes the first item out; -1 when there is none. */
  pop(): number;
}

/** An empty binary heap: push and pop cost O(log size). */
export function createMaxHeap(): MaxHeap {
  const items: number[] = [];
  const priorities: number[] = [];
  const isBefore = (item: number, priority: number, other: number) =>
    priority > priorities[other] || (priority === priorities[other] && item < items[other]);

  function place(position: number, item: number, priority: number): void {
    items[position] = item;
    priorities[position] = priority;
  }

  return {
    get size() {
      return items.length;
    },
    push(item, priority) {
      let position = items.length;
      while (position > 0) {
        const parent = (position - 1) >> 1;
        if (!isBefore(item, priority, parent)) break;
        place(position, items[parent], priorities[parent]);
        position = parent;
      }
      place(position, item, priority);
    },
    pop() {
      const first = items[0] ?? -1;
      const item = items.pop();
      const priority = priorities.pop();
      if (item === undefined || priority === undefined || items.length === 0) return first;
      let position = 0;
      for (;;) {
        let child = 2 * position + 1;
        if (child >= items.length) break;
        if (child + 1 < items.length && isBefore(items[child + 1], priorities[child + 1], child)) child++;
        if (isBefore(item, priority, child)) break;
        place(position, items[child], priorities[child]);
        position = child;
      }
      place(position, item, priority);
      return first;
    },
  };
}
