import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { PageTitle } from "@/components/PageTitle";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <>
      <PageTitle title={t("error.notFound")} />
      <Button component={Link} to="/" variant="default">
        {t("error.toOverview")}
      </Button>
    </>
  );
}
