.PHONY: check format test bench

check:
	ruff format --check
	ruff check
	pyrefly check
	lint-imports
	pytest

format:
	ruff format
	ruff check --fix

test:
	pytest

bench:
	python -m benchmarks.arrays
	python -m benchmarks.capture
	python -m benchmarks.frames
	python -m benchmarks.gradients
	python -m benchmarks.identity
	python -m benchmarks.influence
	python -m benchmarks.magic
	python -m benchmarks.per_sample_gradients
	python -m benchmarks.row_map
	python -m benchmarks.row_queries
	python -m benchmarks.sql
	python -m benchmarks.tensors
	python -m benchmarks.trees
