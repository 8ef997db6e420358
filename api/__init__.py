"""The FastAPI front: one folder per noun (endpoints, schemas). Never imports Dagster or an engine."""
