#!/bin/sh
# Makes the kernel and the first filesystem of the machine that the tests run in: Debian's cloud kernel with the
# modules of an NFS server and client, the server's programs, and busybox. Takes a directory, which is also a
# cache, and the file `init` for the machine.
set -eu
me=$(realpath "$0")
init=$(realpath "$2")
guest=$(realpath "$3")
mkdir -p "$1"
cd "$1"
key=$(sha256sum "$me" "$init" | sha256sum | cut -c 1-16)
[ "$(cat made 2>/dev/null || true)" = "$key" ] && exit 0
arch=$(uname -m)-linux-gnu

# Packages are unpacked, not installed: no daemon is started here.
if ! [ -e packages/done ]; then
    rm -rf packages unpacked
    mkdir -m 777 packages
    mkdir unpacked
    kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2 }')
    (cd packages && apt-get download -qq "$kernel" nfs-kernel-server libtirpc3 libwrap0 libevent-core-2.1-7 \
        libsqlite3-0)
    for package in packages/*.deb; do dpkg-deb -x "$package" unpacked; done
    touch packages/done
fi
release=$(ls unpacked/lib/modules)
depmod -b unpacked "$release"

rm -rf tree
mkdir -p tree/bin tree/sbin tree/etc tree/proc tree/sys tree/dev tree/tmp tree/run tree/srv tree/m41 tree/m42 \
    tree/soft tree/lib/modules tree/var/lib/nfs/v4recovery tree/var/lib/nfs/rpc_pipefs

# Copies a program's libraries to where its loader looks.
libraries() {
    LD_LIBRARY_PATH=$PWD/unpacked/usr/lib/$arch:$PWD/unpacked/lib/$arch ldd "$1" >libraries
    if grep 'not found' libraries; then exit 1; fi
    grep -o '/[^ ]*\.so[^ ]*' libraries | sort -u | while read -r library; do
            case $library in
                */ld-linux*) to=tree/lib64 ;;
                *) to=tree/lib/$arch ;;
            esac
            mkdir -p "$to"
            cp -Ln "$library" "$to/" || true
        done
}

cp /bin/busybox tree/bin/
for name in $(busybox --list); do [ "$name" = busybox ] || ln -s busybox "tree/bin/$name"; done
for name in exportfs rpc.nfsd rpc.mountd mkfs.xfs xfs_quota ip nsenter unshare; do
    program=unpacked/usr/sbin/$name
    [ -e "$program" ] || program=$(command -v "$name")
    rm -f "tree/bin/$name"
    cp -L "$program" "tree/sbin/"
    libraries "$program"
done
libraries "$guest"

for module in nfsd nfsv4 xfs brd veth crc32c_generic; do
    modprobe -d unpacked -S "$release" --show-depends "$module"
done | awk '/^insmod/ && !seen[$2]++ { print $2 }' | while read -r module; do
    cp "$module" tree/lib/modules/
    case $module in */brd.ko) with=' rd_nr=1 rd_size=409600' ;; *) with= ;; esac
    echo "insmod /lib/modules/${module##*/}$with"
done >tree/etc/modules.sh

echo 'root:x:0:0::/root:/bin/sh' >tree/etc/passwd
echo 'root:x:0:' >tree/etc/group
echo '127.0.0.1 localhost' >tree/etc/hosts
echo 'nfs 2049/tcp' >tree/etc/services
printf 'tcp 6 TCP\nudp 17 UDP\n' >tree/etc/protocols
printf 'udp tpi_clts v inet udp - -\ntcp tpi_cots_ord v inet tcp - -\n' >tree/etc/netconfig
cp "$init" tree/init
chmod 755 tree/init
(cd tree && find . | cpio -o -H newc --quiet | gzip -1) >base.gz
cp unpacked/boot/vmlinuz-* vmlinuz
echo "$key" >made
