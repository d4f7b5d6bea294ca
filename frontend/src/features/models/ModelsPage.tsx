import { useTranslation } from "react-i18next";
import { PageTitle } from "@/components/PageTitle";

export function ModelsPage() {
  const { t } = useTranslation("models");
  return <PageTitle title={t("title")} />;
}
