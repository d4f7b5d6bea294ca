import { Kbd, Modal, Table } from "@mantine/core";
import { useTranslation } from "react-i18next";
import { PLACES } from "./places";

interface ShortcutHelpProps {
  opened: boolean;
  onClose: () => void;
}

export function ShortcutHelp({ opened, onClose }: ShortcutHelpProps) {
  const { t } = useTranslation();
  const rows = [
    ...PLACES.map(({ key, name }) => ({
      keys: ["g", key],
      text: t("shortcuts.goTo", { place: t(`nav.${name}`) }),
    })),
    { keys: ["/"], text: t("shortcuts.search") },
    { keys: ["?"], text: t("shortcuts.help") },
  ];
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t("shell.shortcuts")}
      closeButtonProps={{ "aria-label": t("shell.close") }}
    >
      <Table withRowBorders={false}>
        <Table.Tbody>
          {rows.map(({ keys, text }) => (
            <Table.Tr key={text}>
              <Table.Td w={110}>
                {keys.map((key, index) => (
                  <span key={key}>
                    {index > 0 && ` ${t("shortcuts.then")} `}
                    <Kbd>{key}</Kbd>
                  </span>
                ))}
              </Table.Td>
              <Table.Td>{text}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}
