# make demo   builds kubemint and mints and installs credentials on the three local hosts of inventory.example.toml
# make test   installs what the tests need and runs them all
#
# .ci/needs.sh installs Debian packages where it may and names them where it may not; nothing else here needs root.
# As root on Linux no test is skipped: KUBEMINT_TEST_REQUIRE_ROOT=0 lets those go that the machine cannot run.
# The tests run without the packages that needs.sh unpacks beside the system's, and say so, unless KUBEMINT_TEST_REQUIRE_PACKAGES=1.
# KUBEBUILDER_ASSETS names a folder with kube-apiserver, etcd, kube-controller-manager and kubelet for tests/real_cluster.rs;
# with KUBEMINT_TEST_REAL=1 the other tests that need an apiserver run against these too.

CARGO ?= cargo
# The demo and the tests run this build: a development build takes a third of a release build's time, and one host or a
# thousand keys wait for logins and disks, not for the optimiser.
KUBEMINT ?= $(CARGO) run --quiet --locked --bin kubemint --
TARGET := $(or $(CARGO_TARGET_DIR),target)
TOOLS := $(TARGET)/tools/bin
INVENTORY := inventory.example.toml
SHELL_FILES = .ci/run tests/stand_ins/systemctl $(shell find .ci templates tests benches -type f -name '*.sh' 2>/dev/null | LC_ALL=C sort)

# A shell that rustup was installed from does not have cargo in its PATH yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
# A system libssh2 lacks fixes that the bundled one has.
unexport LIBSSH2_SYS_USE_PKG_CONFIG

.PHONY: help demo clean-demo test bench bench-fleet lint fmt clippy shellcheck typos deny needs
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' Makefile | while read -r target what; do printf '  make %-11s %s\n' "$$target" "$$what"; done

demo: ## mint and install on the three local hosts of inventory.example.toml, and show them
	@.ci/needs.sh build
	$(CARGO) build --locked --bin kubemint
	$(KUBEMINT) -i $(INVENTORY) apply --yes
	@echo; echo "What the hosts hold:"; find demo -type f -path '*/etc/kubernetes/*' -exec ls -l {} +
	@echo; $(KUBEMINT) -i $(INVENTORY) status --exit-code

clean-demo: ## remove what make demo made
	rm -rf demo kubemint-state

test: ## install what the tests need, and run them all
	@.ci/needs.sh build test
	$(CARGO) fetch --locked
	@KUBECTL="$$(.ci/needs.sh kubectl)" && export KUBECTL && \
	if [ "$$(id -u)" = 0 ] && [ "$$(uname)" = Linux ]; then \
		export KUBEMINT_TEST_REQUIRE_ROOT="$${KUBEMINT_TEST_REQUIRE_ROOT-1}"; \
	fi; \
	[ "$${KUBEMINT_TEST_REAL-0}" != 1 ] || export NEXTEST_PROFILE=real; \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "$(CARGO) test --doc"; $(CARGO) test --locked --quiet --doc && \
		echo "$(CARGO) nextest run"; $(CARGO) nextest run --locked --no-fail-fast; \
	else \
		echo "$(CARGO) test"; $(CARGO) test --locked --no-fail-fast; \
	fi

bench: ## time 1,000 certificates beside openssl and kubectl, then distribution (bench-fleet)
	@.ci/needs.sh build test
	@KUBECTL="$$(.ci/needs.sh kubectl)" && export KUBECTL && $(CARGO) bench --locked --bench credentials
	@$(MAKE) --no-print-directory bench-fleet

# make bench-fleet N=300 ROUNDS=7 CONCURRENCY=64 MANY=1000; with FLEET_BENCH=quick kubemint and the bare login alone.
bench-fleet: ## time distribution to N=100 real sshd beside ssh, scp, asyncssh, Ansible (as root; prints Markdown)
	@.ci/needs.sh build bench
	@$(CARGO) bench --locked --bench fleet

lint: fmt clippy shellcheck typos ## what must be clean: format, clippy, shell scripts, spelling

fmt: ## the format, checked
	$(CARGO) fmt --check

clippy: ## clippy, warnings denied, with the default features and with none
	@.ci/needs.sh build
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings

shellcheck: ## every shell script, the installer's templates too
	@.ci/needs.sh lint
	$(TOOLS)/shellcheck $(SHELL_FILES)

typos: ## the spelling of everything
	@.ci/needs.sh lint
	$(TOOLS)/typos

deny: ## cargo-deny, where it is installed
	$(CARGO) deny check bans licenses sources

needs: ## install what all of the above need
	@.ci/needs.sh build test lint
