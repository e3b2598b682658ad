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
	python -m benchmarks.capture --rows 1000000
	python -m benchmarks.influence --dataset generated
	python -m benchmarks.row_map --rows 1000000
