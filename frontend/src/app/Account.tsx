import { Button, Menu, Text } from "@mantine/core";
import { IconKey, IconLogout } from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { useMe } from "@/api/me";
import { session } from "@/api/session";
import { useFormat } from "@/i18n/format";

/** Whose key the page calls with, what it allows, and the way out. Nothing where the API asks for no keys. */
export function Account() {
  const { t } = useTranslation();
  const format = useFormat();
  const me = useMe();
  if (me?.keys !== "on") return null;
  const name = me.key_name ?? me.key_id;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button
          variant="subtle"
          color="gray"
          size="compact-md"
          fz="xs"
          fw={400}
          leftSection={<IconKey size={17} />}
          aria-label={t("account.label", { name, tenant: me.tenant })}
        >
          <Text span inherit truncate maw={220} visibleFrom="sm">
            {name} · {me.tenant}
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown maw={300}>
        <Menu.Label>
          <Text size="sm" c="var(--mantine-color-text)" fw={500} truncate>
            {name}
          </Text>
          {t("account.tenant", { tenant: me.tenant })}
          <br />
          {t("account.scopes", { scopes: me.scopes.join(", ") })}
          {me.expires_at !== null && (
            <>
              <br />
              {t("account.expires", { at: format.moment(me.expires_at) })}
            </>
          )}
        </Menu.Label>
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => session.signOut()}>
          {t("account.signOut")}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
