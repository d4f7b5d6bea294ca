import { Tooltip } from "@mantine/core";
import { cloneElement, type MouseEvent, type ReactElement } from "react";
import { useTranslation } from "react-i18next";
import { type Scope, useMay } from "@/api/me";

interface ButtonProps {
  "data-disabled"?: boolean;
  "aria-disabled"?: boolean;
  onClick?: (event: MouseEvent) => void;
}

interface NeedsProps {
  scope: Scope;
  /** A button. */
  children: ReactElement<ButtonProps>;
}

/** A button for which the key must have a scope: without it, it does nothing and says why. */
export function Needs({ scope, children }: NeedsProps) {
  const { t } = useTranslation();
  if (useMay(scope)) return children;
  return (
    <Tooltip
      label={t("account.missing", { scope })}
      events={{ hover: true, focus: true, touch: true }}
    >
      {/* Not `disabled`: nobody could reach it with the keyboard, and so learn why. */}
      {cloneElement(children, {
        "data-disabled": true,
        "aria-disabled": true,
        onClick: (event) => event.preventDefault(),
      })}
    </Tooltip>
  );
}
