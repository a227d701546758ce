#!/bin/sh
# Hosts of the fleet bench: N sshd, each in its own mount and UTS namespace with its own /etc/kubernetes, /root, /tmp, host
# key, name and machine-id. Started as process 1 of new network, mount and PID namespaces: when the other end of standard
# input closes, this ends and everything goes with it. Files are in memory.
#
#   hosts.sh N PUBLIC-KEY-FILE
#
# Prints its pid as the machine numbers it; waits for a line (the network is there); starts the hosts; ends with its input.
set -eu
count=$1
authorized=$(cat "$2")

mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mkdir -p /etc/kubernetes
chmod 755 /etc /etc/kubernetes
: >/etc/machine-id
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
cat >/mnt/sshd_config <<'END'
Port 22
PidFile none
UsePAM no
UseDNS no
StrictModes no
PrintMotd no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 10000
MaxSessions 100
Subsystem sftp internal-sftp
END

# shellcheck disable=SC2016 # for the host's own shell
host='
set -e
home=$1
mount --bind "$home/kubernetes" /etc/kubernetes
mount --bind "$home/machine-id" /etc/machine-id
mount --bind "$home/root" /root
mount --bind "$home/tmp" /tmp
hostname "$2"
exec /usr/sbin/sshd -D -f /mnt/sshd_config -h "$home/key" -E "$home/log" -o "ListenAddress=$3"
'

read -r pid _ </proc/self/stat
echo "$pid"
read -r _

n=1
while [ "$n" -le "$count" ]; do
    home=/mnt/host-$n
    mkdir -p "$home/root/.ssh" "$home/root/rival"
    mkdir -m 755 "$home/kubernetes"
    mkdir -m 1777 "$home/tmp"
    chmod 700 "$home/root"
    printf '%s\n' "$authorized" >"$home/root/.ssh/authorized_keys"
    printf '%032d\n' "$n" >"$home/machine-id"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$home/key"
    unshare -m -u sh -c "$host" host "$home" "node-$n" "198.18.$((n / 250)).$((n % 250 + 1))" </dev/null >/dev/null &
    n=$((n + 1))
done
exec cat >/dev/null
