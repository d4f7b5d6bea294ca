import { ActionIcon, type MantineColorScheme, Menu, useMantineColorScheme } from "@mantine/core";
import {
  IconCheck,
  IconDeviceDesktop,
  IconKeyboard,
  IconLanguage,
  IconMoon,
  IconSun,
} from "@tabler/icons-react";
import { useTranslation } from "react-i18next";
import { changeLanguage, LANGUAGES, type Language } from "@/i18n/setup";

const SCHEMES = [
  { value: "light", text: "shell.schemeLight", icon: IconSun },
  { value: "dark", text: "shell.schemeDark", icon: IconMoon },
  { value: "auto", text: "shell.schemeAuto", icon: IconDeviceDesktop },
] as const satisfies { value: MantineColorScheme; text: string; icon: unknown }[];

/** Language, colour scheme, and the list of shortcuts where there are any. */
export function Preferences({ onHelp }: { onHelp?: () => void }) {
  const { t, i18n } = useTranslation();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const Icon = SCHEMES.find(({ value }) => value === colorScheme)?.icon ?? IconDeviceDesktop;
  const languages = Object.entries(LANGUAGES) as [Language, string][];
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("shell.language")}>
            <IconLanguage size={19} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {languages.map(([language, name]) => (
            <Menu.Item
              key={language}
              lang={language}
              rightSection={i18n.language === language && <IconCheck size={14} />}
              onClick={() => void changeLanguage(i18n, language)}
            >
              {name}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("shell.scheme")}>
            <Icon size={19} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {SCHEMES.map(({ value, text, icon: Each }) => (
            <Menu.Item
              key={value}
              leftSection={<Each size={16} />}
              rightSection={colorScheme === value && <IconCheck size={14} />}
              onClick={() => setColorScheme(value)}
            >
              {t(text)}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
      {onHelp && (
        <ActionIcon
          variant="subtle"
          color="gray"
          size="lg"
          aria-label={t("shell.shortcuts")}
          onClick={onHelp}
          visibleFrom="sm"
        >
          <IconKeyboard size={19} />
        </ActionIcon>
      )}
    </>
  );
}
