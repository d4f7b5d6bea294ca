import { useTranslation } from "react-i18next";
import { PageTitle } from "@/components/PageTitle";

export function OverviewPage() {
  const { t } = useTranslation("overview");
  return <PageTitle title={t("title")} />;
}
