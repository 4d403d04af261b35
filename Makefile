# make demo   the story of Istio mutual TLS on this machine, told by real sidecars
# make test   every test of the workspace, on both drivers and with both TLS backends
# make lint   formatting and clippy for every set of features
# make micro  instructions of single pieces of the data path against a baseline; ARGS=update writes it anew
# make bench  beside HAProxy, nginx and Envoy, in 45 minutes; make bench-quick: the targets, in ten minutes. As root

# One selection of packages and features for everything: cargo unifies features over what it builds together, so any
# other selection would compile half of the dependencies once more.
WORKSPACE := --locked --workspace --features rustls,boring
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))

.PHONY: demo test lint micro bench bench-quick

# The default build: rustls alone, since BoringSSL takes minutes and its own build tools.
demo:
	.ci/prerequisites build
	cargo run --locked --package sidering -- demo $(ARGS)

# --all-targets builds the binary with the very dependencies that the tests are built with.
test:
	.ci/prerequisites test
	cargo build $(WORKSPACE) --all-targets
	SIDERING_BIN=$(TARGET)/debug/sidering cargo test $(WORKSPACE) --no-fail-fast $(ARGS)

lint:
	.ci/prerequisites test
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --workspace --all-targets --no-default-features --features boring -- -D warnings
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings

micro:
	.ci/prerequisites micro
	cargo build --locked --release --manifest-path bench/micro/Cargo.toml --target-dir $(TARGET)/bench
	bench/micro/count.py $(or $(ARGS),check) $(TARGET)/bench/release/micro

bench bench-quick:
	.ci/prerequisites bench
	cargo build $(WORKSPACE) --release --bin sidering
	cargo build --locked --release --manifest-path bench/compare/load/Cargo.toml --target-dir $(TARGET)/bench
	bench/compare/run.py $(if $(filter bench-quick,$@),--quick) --sidering $(TARGET)/release/sidering \
		--load $(TARGET)/bench/release/load $(ARGS)
