"""An auditor's evidence for a period: tables from audit lines and the present state, a summary, and a manifest."""
