"""Studies on lakes: settings and tables, claims, the reproduction, failures, the suite, the gallery, a walk through losses."""
