import { useTranslation } from "react-i18next";
import { PageTitle } from "@/components/PageTitle";

export function DeadLettersPage() {
  const { t } = useTranslation("deadLetters");
  return <PageTitle title={t("title")} />;
}
