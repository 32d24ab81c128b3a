# The first process of a Node: gives the Node a view of the machine of its own, then
# adopts and reaps what is orphaned (containerd's shims) until the Node is removed.
# usage: node-init.sh STATE_FOLDER NODE_NAME NAME=PROGRAMS... -- CGROUP_MOUNT...
# PROGRAMS is a folder that the Node sees as /mnt/bin/NAME. CGROUP_MOUNT is one
# version 1 hierarchy each; none means version 2.
set -e
state=$1 name=$2
shift 2

hostname "$name"
mount --make-rprivate /

# First what lies below folders that are about to be hidden: /mnt is the Node's own
# state folder from here on, with the programs that were built for it.
mkdir -p "$state"/{bin,etc,etc.work,opt,opt.work}
mkdir -p "$state"/var/{tmp,log,lib/kubelet,lib/containerd,lib/cni}
mount --bind "$state" /mnt
while [ "$1" != -- ]; do
  mkdir -p "/mnt/bin/${1%%=*}"
  mount --bind "${1#*=}" "/mnt/bin/${1%%=*}"
  shift
done
shift

mount -t proc proc /proc
mount -t sysfs sysfs /sys
if [ $# = 0 ]; then
  mount -t cgroup2 cgroup /sys/fs/cgroup
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
  done
else
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  for hierarchy; do
    hierarchy=${hierarchy##*/}
    mkdir "/sys/fs/cgroup/$hierarchy"
    case $hierarchy in
      systemd) options=none,name=systemd ;;
      *) options=$hierarchy ;;
    esac
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$hierarchy"
    # Programs look for each controller under its own name.
    case $hierarchy in
      *,*) for controller in ${hierarchy//,/ }; do
        ln -s "$hierarchy" "/sys/fs/cgroup/$controller"
      done ;;
    esac
  done
fi

# A file system of its own: what one Node pins there no other Node sees.
[ ! -d /sys/fs/bpf ] || mount -t bpf bpf /sys/fs/bpf

# The machine's own files serve as the Node's; what a Node writes stays in its folder.
mount -t overlay -o "lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/etc.work" etc /etc
mount -t overlay -o "lowerdir=/opt,upperdir=/mnt/opt,workdir=/mnt/opt.work" opt /opt
# Pods that look for the kernel's modules expect a folder, even where there are none.
if [ ! -d /lib/modules ]; then
  lib=$(realpath /lib)
  mkdir -p /mnt/lib/modules /mnt/lib.work
  mount -t overlay -o "lowerdir=$lib,upperdir=/mnt/lib,workdir=/mnt/lib.work" lib "$lib"
fi
# Not an overlay: containerd's snapshots are overlays, which cannot be stacked so.
mount --bind /mnt/var /var
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
ln -sfn /run /var/run
mkdir -p /run/lock /run/netns /run/containerd /etc/cni/net.d

# Written beside and renamed: the name itself may be a link into a hidden folder.
replace() { cat >"$1.k8snet" && mv -f "$1.k8snet" "$1"; }
echo "$name" | replace /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$name" | replace /etc/hosts
replace /etc/resolv.conf </mnt/resolv.conf

# The kubelet and some Pods set these, and they are the whole machine's: a file with
# the value that is wanted is put in their place, so that the machine keeps its own.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 \
  kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 \
  kernel/keys/root_maxbytes=25000000 kernel/unprivileged_bpf_disabled=2 \
  kernel/timer_migration=1; do
  key=${setting%%=*}
  [ -e "/proc/sys/$key" ] || continue
  mkdir -p "/mnt/sysctl/${key%/*}"
  echo "${setting#*=}" >"/mnt/sysctl/$key"
  mount --bind "/mnt/sysctl/$key" "/proc/sys/$key"
done

# A privileged Pod that mounts / of the Node must not write the machine's files.
mount -o remount,bind,ro /
mount --make-rshared /

echo 1 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
[ ! -e /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
for table in iptables ip6tables; do
  # There only when the kernel can filter what a bridge switches.
  file=/proc/sys/net/bridge/bridge-nf-call-$table
  [ ! -e "$file" ] || echo 1 >"$file"
done

echo ready >/mnt/ready
trap 'exit 0' TERM
while :; do
  sleep infinity &
  wait $! || true
done
