import { Fragment, type ReactNode } from "react";
import classes from "./Facts.module.css";

export type Fact = readonly [label: string, value: ReactNode];

/** Names and values, one under the other; null values are left out. `inline`: one beside the other. */
export function Facts({ facts, inline = false }: { facts: readonly Fact[]; inline?: boolean }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined);
  return (
    <dl className={inline ? classes.inline : classes.facts}>
      {known.map(([label, value]) =>
        inline ? (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ) : (
          <Fragment key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </Fragment>
        ),
      )}
    </dl>
  );
}
