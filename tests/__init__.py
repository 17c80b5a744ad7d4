"""The tests: a package, so that its modules can import each other as ``tests.…`` from anywhere."""
