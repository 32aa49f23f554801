"""Never imported: the exec wrapper starts another runtime."""
