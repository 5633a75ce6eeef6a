#!/bin/sh
# The first process of the machine: an NFS server over XFS, two hosts that are clients, and the tests.
export PATH=/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=1200m tmp /tmp
mount -t tmpfs run /run
sh /etc/modules.sh
/sbin/ip link set lo up
hostname server

# The server: 400 MiB of XFS, leases and grace of 10 s so that a restart does not take minutes (nfsd(7)).
# In memory itself: a file behind a loop device costs an emulated processor twice as much.
mkfs.xfs -q /dev/ram0
mount -t xfs -o prjquota /dev/ram0 /srv
mkdir /srv/ro /srv/squash /srv/c
chown 65534:65534 /srv/squash
# Only a mount point has options of its own below another export.
for at in ro squash; do mount -o bind /srv/$at /srv/$at; done
options=no_subtree_check,insecure,sync
cat >/etc/exports <<X
/srv *(rw,no_root_squash,fsid=0,$options)
/srv/ro *(ro,no_root_squash,fsid=1,$options)
/srv/squash *(rw,root_squash,fsid=2,$options)
X
mount -t rpc_pipefs rpc /var/lib/nfs/rpc_pipefs
mount -t nfsd nfsd /proc/fs/nfsd
exportfs -ar
echo 10 >/proc/fs/nfsd/nfsv4gracetime
echo 10 >/proc/fs/nfsd/nfsv4leasetime
# Without it every mount would wait for good.
rpc.mountd -N 2 -N 3 || poweroff -f
rpc.nfsd -N 3 -U 4
echo Y >/proc/fs/nfsd/v4_end_grace

# Two hosts with networks and names of their own: the server tells clients apart by their names.
for n in 1 2; do
    /sbin/unshare -n -u sh -c "hostname client$n; exec sleep 100000" &
    pid=$!
    echo $pid >/run/client$n
    /sbin/ip link add s$n type veth peer name c$n
    # Until the process has its own network the link would stay here.
    while [ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/1/ns/net)" ]; do usleep 10000; done
    /sbin/ip link set c$n netns $pid
    /sbin/ip addr add 10.0.$n.1/24 dev s$n
    /sbin/ip link set s$n up
    /sbin/nsenter -t $pid -n /sbin/ip link set lo up
    /sbin/nsenter -t $pid -n /sbin/ip addr add 10.0.$n.2/24 dev c$n
    /sbin/nsenter -t $pid -n /sbin/ip link set c$n up
done

for version in 1 2; do
    mount -t nfs4 -o vers=4.$version,addr=127.0.0.1,clientaddr=127.0.0.1 127.0.0.1:/ /m4$version
done
mount -t nfs4 -o vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,soft,nosharecache 127.0.0.1:/ /soft

words=$(tr ' ' '\n' </proc/cmdline | grep '^persist\.' | cut -d= -f2-)
# shellcheck disable=SC2086
PERSIST_GUEST=1 RUST_BACKTRACE=0 time -p /guest $words
echo "GUEST-STATUS $?"
# Nothing is written back: a server that a failed test has stopped would be waited for.
poweroff -n -f
