export interface Selection {
  readonly ids: ReadonlySet<string>;
  /** The row that was chosen last: shift goes from here. */
  readonly anchor: string | null;
}

export const NOTHING: Selection = { ids: new Set(), anchor: null };

/**
 * Choose a row or leave it out; with shift, all from the last one to this one follow.
 *
 * @param order - the ids of all rows, as they are shown.
 */
export function choose(
  selection: Selection,
  order: readonly string[],
  id: string,
  shift: boolean,
): Selection {
  const ids = new Set(selection.ids);
  const chosen = !ids.has(id);
  const from = shift && selection.anchor !== null ? order.indexOf(selection.anchor) : -1;
  const to = order.indexOf(id);
  const range = from < 0 ? [id] : order.slice(Math.min(from, to), Math.max(from, to) + 1);
  for (const one of range) {
    if (chosen) ids.add(one);
    else ids.delete(one);
  }
  return { ids, anchor: id };
}

/** All rows; or, if all are chosen, none. */
export function chooseAll(selection: Selection, order: readonly string[]): Selection {
  return order.every((id) => selection.ids.has(id))
    ? NOTHING
    : { ids: new Set(order), anchor: null };
}
