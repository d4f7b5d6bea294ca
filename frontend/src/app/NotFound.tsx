import { Button } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useTranslation } from "react-i18next";
import { EmptyState } from "@/components/EmptyState";

export function NotFound() {
  const { t } = useTranslation();
  return (
    <EmptyState title={t("error.notFound")}>
      <Button component={Link} to="/" variant="default">
        {t("error.toOverview")}
      </Button>
    </EmptyState>
  );
}
