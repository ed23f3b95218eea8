# shellcheck shell=bash
# Functions of all server launchers, which source this file.
#
# Every instance runs in its own mount and process namespaces:
#   /mnt   is the instance's DIR            /run, /var, /tmp  are DIR/run, ...
#   /etc   is DIR/etc over the host's /etc  /usr  is the unpacked packages
#                                           over the host's /usr (read only)
# So a server has the paths, users and PAM files for which it was built, nothing on
# the host changes, and killing one process stops the server.
#
# A launcher sets NAME, PKGS and optionally PORTS, and defines:
#   configure                   write configuration files below $D/etc
#   run                         start the daemons; MAIN is the pid to wait for
#   do_inject USER FILE...      do_poison USER N KIND      do_count USER
#   kinds
# and optionally: server_users, extra_env, PAM (its PAM service).

set -eu

PATH=/usr/sbin:/usr/bin:/sbin:/bin
SELF=$(readlink -f "$0")
HERE=$(dirname "$SELF")
CACHE=$(readlink -m "${POUCH_TEST_SERVERS:-/var/cache/pouch-test-servers}")
UID_ALICE=24001
UID_BOB=24002
PKGS=()
PORTS=(pop3)

die() {
	printf '%s: %s\n' "${NAME:-servers}" "$*" >&2
	exit 1
}

# ---------------------------------------------------------------- install

need_tools() {
	local t missing=()
	for t in apt-get:apt dpkg:dpkg python3:python3 openssl:openssl unshare:util-linux \
		mount:mount losetup:mount mke2fs:e2fsprogs debugfs:e2fsprogs; do
		command -v "${t%%:*}" >/dev/null || missing+=("${t#*:}")
	done
	[ ${#missing[@]} -eq 0 ] || die "missing Debian packages: ${missing[*]}"
}

fetch_pkgs() {
	"${APT[@]}" --download-only install "${PKGS[@]}" >&2
}

# Download PKGS and those dependencies that the host does not have, and unpack them
# below the cache.  Packages that provide pop3-server conflict with each other, so
# they are not installed, and the packages of the host do not change.
install_pkgs() {
	need_tools
	local tree=$CACHE/tree/$NAME tmp want d deb
	# shellcheck source=/dev/null
	want="$(. /etc/os-release && echo "${ID-} ${VERSION_ID-}") ${PKGS[*]}"
	[ "$(cat "$tree/.packages" 2>/dev/null)" != "$want" ] || return 0
	mkdir -p "$CACHE/tree" "$CACHE/archives/partial"
	exec 8>"$CACHE/lock"
	flock 8
	[ "$(cat "$tree/.packages" 2>/dev/null)" != "$want" ] || return 0
	tmp=$(mktemp -d "$CACHE/new.XXXXXX")
	# The installed packages, and a dummy mail system.
	cp /var/lib/dpkg/status "$tmp/status"
	dpkg-query -W -f '${db:Status-Status} ${Provides}\n' | grep -q '^installed .*mail-transport-agent' ||
		cat >>"$tmp/status" <<-END
			Package: no-mta
			Status: install ok installed
			Maintainer: nobody
			Architecture: all
			Version: 1
			Provides: mail-transport-agent, default-mta
			Description: stand-in

		END
	APT=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends --reinstall
		-o "Dir::State::status=$tmp/status"
		-o "Dir::Cache::archives=$CACHE/archives"
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
		-o APT::Sandbox::User=root -o Debug::NoLocking=1)
	# The package lists may be missing, or out of date.
	fetch_pkgs 2>"$tmp/first-try" || {
		apt-get -qq update >&2
		fetch_pkgs
	} || die "cannot fetch ${PKGS[*]}"
	# --print-uris omits packages in the archives directory, so an empty one is used.
	mkdir -p "$tmp/none/partial" "$tmp/root"
	"${APT[@]}" -o "Dir::Cache::archives=$tmp/none" --print-uris install "${PKGS[@]}" |
		sed -n "s/^'[^']*' \([^ ]*\.deb\) .*/\1/p" >"$tmp/debs"
	[ -s "$tmp/debs" ] || die "cannot list the package files for ${PKGS[*]}"
	while read -r deb; do
		dpkg -x "$CACHE/archives/$deb" "$tmp/root"
	done <"$tmp/debs"
	for d in bin sbin lib lib32 lib64; do
		if [ -d "$tmp/root/$d" ] && [ ! -L "$tmp/root/$d" ]; then
			mkdir -p "$tmp/root/usr/$d"
			cp -a "$tmp/root/$d/." "$tmp/root/usr/$d/"
			rm -rf "${tmp:?}/root/$d"
		fi
	done
	rm -rf "$tmp/root/usr/share/doc" "$tmp/root/usr/share/man"
	printf '%s\n' "$want" >"$tmp/root/.packages"
	if [ -e "$tree" ]; then mv "$tree" "$tmp/old"; fi
	mv "$tmp/root" "$tree"
	rm -rf "$tmp"
	exec 8>&-
}

# ---------------------------------------------------------------- configuration

# pick_port: print a free loopback port, outside the range of outgoing connections
# and not used by another instance in the last minute.
pick_port() {
	python3 - "$CACHE/ports" <<-'END'
		import fcntl, random, socket, sys, time
		with open(sys.argv[1], "a+") as book:
		    fcntl.flock(book, fcntl.LOCK_EX)
		    book.seek(0)
		    given = dict(line.split() for line in book)
		    now = int(time.time())
		    given = {p: t for p, t in given.items() if now - int(t) < 60}
		    while True:
		        port = random.randrange(12000, 32000)
		        with socket.socket() as s:
		            try:
		                s.bind(("0.0.0.0", port))
		            except OSError:
		                continue
		        if str(port) not in given:
		            break
		    given[str(port)] = now
		    book.truncate(0)
		    book.writelines("%s %s\n" % x for x in given.items())
		print(port)
	END
}

opt() { # opt KEY DEFAULT: an option given to start as KEY=VALUE
	local v
	v=$(sed -n "s/^$1=//p" "$D/options" 2>/dev/null | tail -n 1)
	printf '%s' "${v:-$2}"
}

port() { sed -n "s/^$1_port=//p" "$D/ports"; }

# mk_tls: create a CA, a server certificate and a client certificate for alice.
# Option tls=good|expired|wronghost|selfsigned|otherca.
mk_tls() {
	mkdir -p "$D/tls/db"
	(
		cd "$D/tls"
		: >db/index.txt
		echo 1000 >db/serial
		cat >ca.cnf <<-'END'
			[ca]
			default_ca = d
			[d]
			dir = .
			database = db/index.txt
			serial = db/serial
			new_certs_dir = db
			default_md = sha256
			policy = p
			unique_subject = no
			email_in_dn = no
			[p]
			commonName = supplied
			[req]
			distinguished_name = dn
			prompt = no
			[dn]
			CN = localhost
			[ca_ext]
			basicConstraints = critical, CA:TRUE
			keyUsage = critical, keyCertSign, cRLSign
			subjectKeyIdentifier = hash
			[good]
			basicConstraints = CA:FALSE
			extendedKeyUsage = serverAuth
			subjectAltName = DNS:localhost, IP:127.0.0.1, IP:127.0.0.2
			authorityKeyIdentifier = keyid
			[wronghost]
			basicConstraints = CA:FALSE
			extendedKeyUsage = serverAuth
			subjectAltName = DNS:mail.example.net
			authorityKeyIdentifier = keyid
			[selfsigned]
			basicConstraints = CA:FALSE
			extendedKeyUsage = serverAuth
			subjectAltName = DNS:localhost, IP:127.0.0.1, IP:127.0.0.2
			[client]
			basicConstraints = CA:FALSE
			extendedKeyUsage = clientAuth
			authorityKeyIdentifier = keyid
		END
		key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }
		self() { # self FILE CN EXTENSIONS
			key "$1.key"
			openssl req -x509 -new -key "$1.key" -days 3650 -config ca.cnf \
				-extensions "$3" -subj "/CN=$2" -out "$1.pem"
		}
		sign() { # sign FILE CN EXTENSIONS CA LAST-DAY
			key "$1.key"
			openssl req -new -key "$1.key" -config ca.cnf -subj "/CN=$2" -out "$1.csr"
			openssl ca -batch -notext -config ca.cnf -cert "$4.pem" -keyfile "$4.key" \
				-extensions "$3" -startdate 20200101000000Z -enddate "$5" \
				-in "$1.csr" -out "$1.pem"
		}
		far=20491231235959Z
		self ca "Throwaway test CA" ca_ext
		case $(opt tls good) in
		good) sign server localhost good ca $far ;;
		expired) sign server localhost good ca 20210101000000Z ;;
		wronghost) sign server localhost wronghost ca $far ;;
		otherca)
			self other "Some other CA" ca_ext
			sign server localhost good other $far
			;;
		selfsigned) self server localhost selfsigned ;;
		*) die "unknown tls=$(opt tls good)" ;;
		esac
		sign alice alice client ca $far
		cat server.key server.pem >combined.pem
		openssl x509 -in server.pem -noout -fingerprint -sha256 |
			sed 's/.*=//' | tr -d : | tr 'A-F' 'a-f' >server.sha256
		chmod 644 ./*.key ./*.pem
	) >>"$D/log/tls.log" 2>&1 || die "cannot create certificates: $(tail -n 3 "$D/log/tls.log")"
}

# mk_base: create users, PAM files, hosts and log socket of the instance.
mk_base() {
	mkdir -p "$D"/{etc/pam.d,run/lock,var/mail,var/lib,var/log,var/spool,var/tmp,tmp,dev/pts,dev/shm,hostdev,log,lib,mail,tree}
	chmod 755 "$D"
	chmod 1777 "$D/tmp" "$D/var/tmp" "$D/dev/shm"
	chmod 2775 "$D/var/mail"
	chown 0:8 "$D/var/mail"
	ln -sfn /run "$D/var/run"
	ln -sfn /run/lock "$D/var/lock"
	ln -sfn /var/mail "$D/var/spool/mail"
	cp "$HERE"/inetd.py "$HERE"/syslogd.py "$D/lib/"
	cat >"$D/etc/passwd" <<-END
		root:x:0:0:root:/root:/bin/sh
		mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
		nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
		alice:x:$UID_ALICE:$UID_ALICE:Alice:/mnt/mail/alice:/bin/sh
		bob:x:$UID_BOB:$UID_BOB:Bob:/mnt/mail/bob:/bin/sh
	END
	cat >"$D/etc/group" <<-END
		root:x:0:
		tty:x:5:
		mail:x:8:
		shadow:x:42:
		nogroup:x:65534:
		alice:x:$UID_ALICE:
		bob:x:$UID_BOB:
	END
	if declare -F server_users >/dev/null; then server_users; fi
	local u
	sed -n 's/:.*//p' "$D/etc/passwd" | while read -r u; do
		case $u in
		alice) echo "alice:$(openssl passwd -6 secret):19000:0:99999:7:::" ;;
		bob) echo "bob:$(openssl passwd -6 hunter2):19000:0:99999:7:::" ;;
		*) echo "$u:*:19000:0:99999:7:::" ;;
		esac
	done >"$D/etc/shadow"
	chmod 600 "$D/etc/shadow"
	# The PAM file of the package would include Debian's common-*.
	printf 'auth required pam_unix.so nodelay\naccount required pam_unix.so\nsession required pam_permit.so\n' |
		tee "$D/etc/pam.d/other" >"$D/etc/pam.d/${PAM:-other}"
	printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n' >"$D/etc/nsswitch.conf"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$D/etc/hosts"
	printf 'pop3 110/tcp\npop3s 995/tcp\nimap 143/tcp\nlmtp 24/tcp\n' >"$D/etc/services"
	printf 'ip 0 IP\ntcp 6 TCP\nudp 17 UDP\n' >"$D/etc/protocols"
	for u in alice bob; do mk_home "$u"; done
}

owner() {
	case $1 in
	alice) echo $UID_ALICE ;;
	bob) echo $UID_BOB ;;
	*) die "no such user: $1" ;;
	esac
}

mk_home() {
	local h=$D/mail/$1 o
	o=$(owner "$1")
	mkdir -p "$h/Maildir"/{new,cur,tmp}
	touch "$D/var/mail/$1"
	chown -R "$o:$o" "$h"
	chown "$o:8" "$D/var/mail/$1"
	chmod -R go-rwx "$h/Maildir"
	chmod 660 "$D/var/mail/$1"
}

# ---------------------------------------------------------------- namespace

# Run as process 1 of the new namespaces.
ns_init() {
	mount --bind "$CACHE/tree/$NAME" "$D/tree"
	mount --rbind "$D" /mnt
	D=/mnt
	local etc=/mnt/etc:/etc f
	if [ -d /mnt/tree/etc ]; then etc=/mnt/etc:/mnt/tree/etc:/etc; fi
	mount -t overlay -o "ro,lowerdir=$etc" overlay /etc
	mount -t overlay -o ro,lowerdir=/mnt/tree/usr:/usr overlay /usr
	for f in null zero full random urandom tty; do
		: >>"/mnt/dev/$f"
		mount --bind "/dev/$f" "/mnt/dev/$f"
	done
	ln -sfn /proc/self/fd /mnt/dev/fd
	ln -sfn /proc/self/fd/0 /mnt/dev/stdin
	ln -sfn /proc/self/fd/1 /mnt/dev/stdout
	ln -sfn /proc/self/fd/2 /mnt/dev/stderr
	ln -sfn /run/devlog /mnt/dev/log
	mount --rbind /dev /mnt/hostdev
	mount --rbind /mnt/dev /dev
	mount --bind /mnt/run /run
	mount --bind /mnt/var /var
	mount --bind /mnt/tmp /tmp
	cd /
	umask 022
	rm -f /run/devlog /run/*.pid /run/*/*.pid
	python3 -I /mnt/lib/syslogd.py /run/devlog /mnt/log/syslog &
	for _ in {1..200}; do
		[ ! -S /run/devlog ] || break
		sleep 0.02
	done
	MAIN=
	run
	sleep "$(opt ttl 900)" &
	# Without MAIN, the daemons are not child processes of this shell.
	wait -n ${MAIN:+"$MAIN"} $! || :
	exit 0
}

# Print field N (counted after the name) of /proc/PID/stat: 1 is the state, 20 the start time.
proc_stat() {
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
	# shellcheck disable=SC2086
	set -- "$2" ${stat##*) }
	shift "$1"
	printf '%s\n' "$1"
}

alive() {
	local pid when
	read -r pid when 2>/dev/null <"$D/pid" || return 1
	[ "$(proc_stat "$pid" 20)" = "$when" ] && [ "$(proc_stat "$pid" 1)" != Z ]
}

ns_pid() { # the instance's process 1, as seen from outside
	local pid
	read -r pid _ <"$D/pid"
	tr -d ' ' <"/proc/$pid/task/$pid/children"
}

ns_exec() {
	alive || die "not running: $D"
	nsenter -t "$(ns_pid)" -m -p -r -w -- env -i PATH=$PATH LC_ALL=C TZ=UTC "$@"
}

ns_start() {
	local pid
	env -i PATH=$PATH LC_ALL=C TZ=UTC POUCH_TEST_SERVERS="$CACHE" \
		setsid unshare --mount --pid --fork --kill-child --mount-proc \
		bash "$SELF" __init "$D" </dev/null >>"$D/log/console" 2>&1 9>&- &
	pid=$!
	printf '%s %s\n' "$pid" "$(proc_stat $pid 20)" >"$D/pid"
	disown "$pid"
}

ns_stop() {
	local pid inner
	if alive; then
		read -r pid _ <"$D/pid"
		inner=$(ns_pid)
		kill -KILL "$pid" 2>/dev/null || :
		# The namespaces end with their process 1, which ends last.
		for _ in {1..500}; do
			case $(proc_stat "${inner:-none}" 1) in Z | '') break ;; esac
			sleep 0.01
		done
	fi
	rm -f "$D/pid"
}

ready() {
	local line
	{
		exec 3<>"/dev/tcp/$HOST/$(port pop3)" && IFS= read -r -t 5 line <&3
	} 2>/dev/null || return 1
	exec 3>&-
	case $line in +OK*) return 0 ;; esac
	return 1
}

wait_ready() {
	local i
	for ((i = 0; i < 400; i++)); do
		alive || return 1
		! (ready) || return 0
		sleep 0.05
	done
	return 1
}

write_env() {
	{
		echo "server=$NAME"
		echo "host=$HOST"
		cat "$D/ports"
		if [ -e "$D/tls/ca.pem" ]; then
			echo "ca_file=$D/tls/ca.pem"
			echo "cert_sha256=$(cat "$D/tls/server.sha256")"
			echo "client_cert=$D/tls/alice.pem"
			echo "client_key=$D/tls/alice.key"
		fi
		if declare -F extra_env >/dev/null; then extra_env; fi
		echo "log=$D/log"
		echo "pid=$(cut -d ' ' -f 1 "$D/pid")"
	} >"$D/env"
	cat "$D/env"
}

do_start() {
	local try p first=1
	install_pkgs
	exec 9>"$D/.lock"
	flock 9
	if alive; then
		cat "$D/env"
		return 0
	fi
	if [ -e "$D/configured" ]; then first=; fi
	if [ -n "$first" ]; then
		printf '%s\n' "$@" >"$D/options"
		for p; do # the options stand at the top of each launcher
			grep -q "^#   ${p%%=*}=" "$SELF" || die "unknown option: $p"
		done
	elif [ $# -gt 0 ]; then
		die "options are only allowed at the first start: $D"
	fi
	HOST=$(opt listen 127.0.0.1)
	for try in 1 2 3; do
		if [ -n "$first" ]; then
			for p in "${PORTS[@]}"; do echo "${p}_port=$(pick_port)"; done >"$D/ports"
			mk_base
			configure
			: >"$D/configured"
		fi
		ns_start
		if wait_ready; then
			write_env
			return 0
		fi
		ns_stop
		# A port may be in use now: only a first start can choose another one.
		[ -n "$first" ] || break
		rm -f "$D/configured"
	done
	tail -n 20 "$D"/log/* >&2 || :
	die "not ready after $try attempts: see $D/log"
}

# ---------------------------------------------------------------- messages

next_seq() { # a number that grows with every message of the instance
	local n
	exec 7>"$D/seq.lock"
	flock 7
	n=$(cat "$D/seq" 2>/dev/null || echo 0)
	n=$((n + 1))
	echo "$n" >"$D/seq"
	exec 7>&-
	printf '%06d' "$n"
}

# inject_maildir USER FILE...: store messages, with names in ascending order.  With
# SIZED set the names have ,S=SIZE,W=SIZE-WITH-CRLF, as Dovecot writes them.
inject_maildir() {
	local u=$1 o dir name f size now
	shift
	o=$(owner "$u")
	dir=$D/mail/$u/Maildir
	now=$(date +%s)
	for f; do
		name=$now.M$(next_seq)P$$.localhost
		if [ -n "${SIZED-}" ]; then
			size=$(stat -c %s -- "$f")
			name=$name,S=$size,W=$((size + $(wc -l <"$f") - $(grep -ac $'\r$' <"$f" || :)))
		fi
		install -m 600 -o "$o" -g "$o" -- "$f" "$dir/tmp/$name"
		mv "$dir/tmp/$name" "$dir/new/$name"
	done
}

list_maildir() { # list_maildir USER: the paths, in the order of the names
	find "$D/mail/$1/Maildir/new" "$D/mail/$1/Maildir/cur" -mindepth 1 -maxdepth 1 -printf '%f\t%p\n' |
		LC_ALL=C sort | cut -f 2
}

count_maildir() { list_maildir "$1" | wc -l; }

# nth N: print line N of standard input
nth() {
	local f
	f=$(sed -n "$1p")
	[ -n "$f" ] || die "there is no message $1"
	printf '%s\n' "$f"
}

# inject_mbox USER FILE...: append messages like a delivery agent: From_ line, LF,
# a blank line after the header, ^>*From_ quoted.
inject_mbox() {
	local u=$1
	shift
	python3 - "$D/var/mail/$u" "$@" <<-'END'
		import fcntl, re, sys
		box, files = sys.argv[1], sys.argv[2:]
		with open(box, "ab") as b:
		    fcntl.lockf(b, fcntl.LOCK_EX)
		    for f in files:
		        m = open(f, "rb").read().replace(b"\r\n", b"\n")
		        m = re.sub(rb"(?m)^(>*From )", rb">\1", m)
		        if b"\n\n" not in m:
		            m = m.rstrip(b"\n") + b"\n\n"
		        if not m.endswith(b"\n"):
		            m += b"\n"
		        b.write(b"From tester@example.org Thu Jan  1 00:00:00 2026\n" + m + b"\n")
	END
}

count_mbox() { grep -ac '^From ' "$D/var/mail/$1" || :; }

# shellcheck disable=SC2034 # used in the launchers
MAILDIR_KINDS="io-error unreadable gone directory dangling fifo truncate empty"

# poison_io USER FILE: make the second half of FILE unreadable.  It becomes a link
# to a file on a small loop-mounted file system whose image ends there, so that
# read() fails with EIO.  This works in blocks of 4096 bytes: a smaller message
# fails at its first byte.  Needs loop devices; the mount ends with the instance.
poison_io() {
	local o k size block dev
	o=${OWNER:-$(owner "$1")}
	[ -f "$2" ] || die "not a file: $2"
	alive || die "io-error needs a running instance"
	k=$D/bad/$(next_seq)
	mkdir -p "$k.src" "$k"
	cp -- "$2" "$k.src/msg"
	chown "$o:$o" "$k.src/msg"
	chmod 600 "$k.src/msg"
	size=$(stat -c %s "$k.src/msg")
	mke2fs -q -t ext2 -b 4096 -d "$k.src" "$k.img" $((size / 1024 + 512))k >/dev/null 2>&1 || die "mke2fs failed"
	block=$(debugfs -R "bmap /msg $((size / 2 / 4096))" "$k.img" 2>/dev/null)
	rm -r "$k.src"
	dev=$(losetup -f --show "$k.img") || die "io-error needs a loop device"
	ns_exec mount -t ext4 -o ro,errors=continue "/mnt/hostdev/${dev#/dev/}" "/mnt${k#"$D"}" || {
		losetup -d "$dev"
		die "cannot mount the bad disk $dev"
	}
	losetup -d "$dev" # takes effect when the mount goes
	truncate -s $((block * 4096)) "$k.img"
	rm -f "$2"
	ln -s "/mnt${k#"$D"}/msg" "$2"
	chown -h "$o:$o" "$2"
}

# poison_file USER FILE KIND: the kinds of damage that do not depend on the server.
poison_file() {
	local o=${OWNER:-$(owner "$1")} f=$2
	case $3 in
	io-error) poison_io "$1" "$f" ;;                         # read: EIO in the middle
	unreadable) chmod 000 "$f" ;;                            # open: EACCES
	gone) rm -f "$f" ;;                                      # open: ENOENT (in a session)
	directory) rm -f "$f" && mkdir "$f" && chown "$o" "$f" ;; # read: EISDIR
	dangling) ln -sfn /nonexistent/message "$f" ;;           # open: ENOENT, for ever
	fifo) rm -f "$f" && mkfifo "$f" && chown "$o" "$f" ;;    # open: hangs
	truncate) truncate -s $(($(stat -c %s "$f") / 2)) "$f" ;;
	empty) truncate -s 0 "$f" ;;
	*) die "unknown kind: $3 (kinds: $(kinds))" ;;
	esac
}

# shellcheck disable=SC2034 # used in the launchers
MBOX_KINDS="unreadable truncate nofrom badfrom nul"

poison_maildir() { # poison_maildir USER N KIND
	local f
	f=$(list_maildir "$1" | nth "$2")
	poison_file "$1" "$f" "$3"
}

# poison_mbox USER N KIND: damage the N-th message in an mbox file.
poison_mbox() {
	python3 - "$D/var/mail/$1" "$2" "$3" <<-'END'
		import os, re, sys
		box, n, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
		if kind == "unreadable":
		    os.chmod(box, 0)
		    sys.exit()
		data = open(box, "rb").read()
		starts = [m.start() for m in re.finditer(rb"(?m)^From ", data)]
		if not 1 <= n <= len(starts):
		    sys.exit("there is no message %d in %s" % (n, box))
		a = starts[n - 1]
		b = starts[n] if n < len(starts) else len(data)
		msg = data[a:b]
		if kind == "truncate":      # the file ends inside message N
		    data = data[:a + len(msg) // 2]
		elif kind == "nofrom":      # message N's From_ line is gone
		    data = data[:a] + msg.split(b"\n", 1)[1] + data[b:]
		elif kind == "badfrom":     # message N's From_ line is no date
		    data = data[:a] + b"From nobody never\n" + msg.split(b"\n", 1)[1] + data[b:]
		elif kind == "nul":         # a run of NULs, as after a crash
		    half = len(msg) // 2
		    data = data[:a] + msg[:half] + b"\0" * 4096 + msg[half:] + data[b:]
		else:
		    sys.exit("unknown kind: " + kind)
		with open(box, "r+b") as f:
		    f.write(data)
		    f.truncate()
	END
}

# ---------------------------------------------------------------- main

usage() {
	cat >&2 <<-END
		usage: $NAME install
		       $NAME start DIR [OPTION=VALUE]...
		       $NAME env|stop|remove DIR
		       $NAME inject DIR USER FILE...
		       $NAME poison DIR USER N KIND
		       $NAME count DIR USER
		       $NAME kinds
		       $NAME exec DIR COMMAND...
	END
	exit 2
}

main() {
	[ $# -gt 0 ] || usage
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null || die "needs root (mount namespaces), or sudo"
		exec sudo -n POUCH_TEST_SERVERS="$CACHE" "$SELF" "$@"
	fi
	umask 022
	local cmd=$1
	shift
	case $cmd in
	install)
		install_pkgs
		return
		;;
	kinds)
		kinds
		return
		;;
	start) [ $# -eq 0 ] || mkdir -p "$1" ;;
	stop | remove) [ -d "${1-}" ] || return 0 ;;
	env | inject | poison | count | exec | __init) ;;
	*) usage ;;
	esac
	[ $# -gt 0 ] || usage
	[ -d "$1" ] || die "no such instance: $1"
	D=$(readlink -f "$1")
	[ "$cmd" = start ] || [ -e "$D/options" ] || die "no such instance: $D"
	HOST=$(opt listen 127.0.0.1)
	shift
	case $cmd in
	start) do_start "$@" ;;
	env) cat "$D/env" ;;
	stop) ns_stop ;;
	remove)
		ns_stop
		rm -rf "$D"
		;;
	inject)
		[ $# -ge 2 ] || usage
		do_inject "$@"
		;;
	poison)
		[ $# -eq 3 ] || usage
		do_poison "$@"
		;;
	count)
		[ $# -eq 1 ] || usage
		do_count "$1"
		;;
	exec) ns_exec "$@" ;;
	__init) ns_init ;;
	esac
}
