import { useTranslation } from "react-i18next";
import { PageTitle } from "@/components/PageTitle";

export function PlaygroundPage() {
  const { t } = useTranslation("playground");
  return <PageTitle title={t("title")} />;
}
