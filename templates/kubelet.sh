# shellcheck shell=sh
# What kubemint runs on a host to set a kubelet's credentials aside, and to put them back.
#
# Sent between braces after environment.sh, variables.sh and guard.sh, followed by one call, on standard input. In each of the two directories
# what is set aside moves into a directory of mode 0700, by renames alone: no byte of a key is read or copied. While that is
# called .kubemint-rebootstrap-RUN.part, some files may still be in their places, and nothing else was changed; without
# .part all of them are in it, and what stands in their places now is newer; with .kept it is only history. What had come
# since and had to make room is in .kubemint-rebootstrap-RUN.replaced.
# So a kill at any moment leaves what km_back can put back, also one of km_back itself.
# Must run under dash, bash and busybox.
# shellcheck disable=SC2154 # the nonce is set by the line that follows
set -u
set +f
exec </dev/null 2>&1
[ -z "${km_limit:-}" ] || km_guard "$km_limit"
trap km_unguard EXIT
# What was begun is finished, with or without us, as far as the time limit of guard.sh lets it.
trap '' HUP INT TERM PIPE XFSZ

km_say() { printf '%s %s\n' "$km_nonce" "$*"; }

km_quit() {
  km_say end
  exit 0
}

km_fail() { # STEP PATH
  km_say fail "$@"
  km_quit
}

# Goes to a directory, if it is there and only root and we can change it.
km_enter() { # DIR
  [ -d "$1" ] || return 1
  cd -P "$1" || km_fail enter "$1"
  # shellcheck disable=SC2012 # one directory
  km_line=$(ls -ldn .) || km_fail look "$1"
  # shellcheck disable=SC2086 # to be split
  set -- "$1" $km_line
  case $2 in
    d????-??-?*) ;;
    *) km_fail unsafe "$1" ;;
  esac
  [ "$4" = 0 ] || [ "$4" = "$(id -u)" ] || km_fail unsafe "$1"
}

# Into km_files: those names of the working directory that are a kubelet's credentials. The key of a request that was never
# answered is one of them: with it the kubelet would wait for the same request again.
km_list() { # KUBECONFIG-NAME, or nothing in the directory of certificates
  km_files=
  if [ $# -gt 0 ]; then
    [ ! -e "./$1" ] && [ ! -L "./$1" ] || km_files=./$1
    return 0
  fi
  for km_file in ./kubelet-client-* ./kubelet-client.key.tmp; do
    case $km_file in
      *[!A-Za-z0-9._/-]*) continue ;;
    esac
    [ ! -e "$km_file" ] && [ ! -L "$km_file" ] || km_files="$km_files $km_file"
  done
}

km_tell() { # WHAT
  for km_file in $km_files; do
    km_say "$1" "$km_file"
  done
  for km_file in ./.kubemint-rebootstrap-*; do
    case $km_file in
      *.replaced) continue ;;
    esac
    [ ! -d "$km_file" ] || [ -L "$km_file" ] || km_say backup "${km_file#./.kubemint-rebootstrap-}"
  done
}

km_look() { # KUBECONFIG-DIRECTORY KUBECONFIG-NAME PKI-DIRECTORY
  if km_enter "$1"; then
    km_list "$2"
    km_tell kubeconfig
  fi
  if km_enter "$3"; then
    km_list
    km_tell client
  fi
}

km_aside() { # RUN KUBECONFIG-DIRECTORY KUBECONFIG-NAME PKI-DIRECTORY
  km_run=$1
  # Both are judged before anything is moved.
  km_enter "$2" || :
  km_enter "$4" || :
  if km_enter "$2"; then
    km_list "$3"
    km_move "$2"
  fi
  if km_enter "$4"; then
    km_list
    km_move "$4"
  fi
}

km_move() { # DIR
  km_backup=./.kubemint-rebootstrap-$km_run
  for km_file in ./.kubemint-rebootstrap-*; do
    case $km_file in
      *.kept | *.replaced) continue ;;
    esac
    [ ! -e "$km_file" ] || km_fail unfinished "$1"
  done
  mkdir -m 700 "$km_backup.part" || km_fail mkdir "$1"
  for km_file in $km_files; do
    mv "$km_file" "$km_backup.part/" || km_fail move "$1/${km_file#./}"
    km_say moved "$km_file"
  done
  mv "$km_backup.part" "$km_backup" || km_fail move "$1"
  km_sync "$1"
}

# busybox may have no sync of one directory.
km_sync() { # DIR
  sync . 2>/dev/null || sync || km_fail sync "$1"
}

# Puts back what any run has set aside and not brought to an end.
km_back() { # KUBECONFIG-DIRECTORY KUBECONFIG-NAME PKI-DIRECTORY
  if km_enter "$3"; then
    km_return "$3"
  fi
  if km_enter "$1"; then
    km_return "$1" "$2"
  fi
}

km_return() { # DIR [KUBECONFIG-NAME]
  km_one=
  km_dir=$1
  shift
  for km_backup in ./.kubemint-rebootstrap-*; do
    case $km_backup in
      *.kept | *.replaced) continue ;;
    esac
    [ -d "$km_backup" ] || continue
    [ ! -L "$km_backup" ] || continue
    # Which of them is the older, and what came between, a person must say.
    [ -z "$km_one" ] || km_fail several "$km_dir"
    km_one=$km_backup
  done
  for km_backup in $km_one; do
    case $km_backup in
      *.part) ;;
      *)
        # What has come since goes first: it has no name that the backup need have. It may be the only key that works.
        km_list "$@"
        for km_file in $km_files; do
          [ ! -L "$km_backup.replaced" ] || km_fail unsafe "$km_dir"
          [ -d "$km_backup.replaced" ] || mkdir -m 700 "$km_backup.replaced" || km_fail mkdir "$km_dir"
          km_to=$km_backup.replaced/${km_file#./}
          while [ -e "$km_to" ] || [ -L "$km_to" ]; do
            km_to=$km_to~
          done
          mv "$km_file" "$km_to" || km_fail move "$km_dir/${km_file#./}"
        done
        mv "$km_backup" "$km_backup.part" || km_fail move "$km_dir"
        km_backup=$km_backup.part
        ;;
    esac
    for km_file in "$km_backup"/*; do
      [ -e "$km_file" ] || [ -L "$km_file" ] || continue
      mv -f "$km_file" ./ || km_fail move "$km_dir/${km_file##*/}"
      km_say returned "./${km_file##*/}"
    done
    rmdir "$km_backup" || km_fail remove "$km_dir"
    km_sync "$km_dir"
  done
}

# Whether a file is of a size that a certificate or key may have: what is larger is not read.
km_is_small() { # NAME
  # shellcheck disable=SC2012 # one file
  km_line=$(ls -lLdn "$1") || return 1
  # shellcheck disable=SC2086 # to be split
  set -- $km_line
  case ${5:-} in
    '' | *[!0-9]* | ????????*) return 1 ;;
  esac
  [ "$5" -le 1048576 ]
}

# The certificate that the kubelet works with, line by line; of the key beside it nothing.
km_current() { # PKI-DIRECTORY
  km_enter "$1" || return 0
  [ -f ./kubelet-client-current.pem ] || return 0
  km_is_small ./kubelet-client-current.pem || return 0
  km_in=
  while IFS= read -r km_line; do
    case $km_line in
      '-----BEGIN CERTIFICATE-----') km_in=yes ;;
      '-----END CERTIFICATE-----')
        [ -z "$km_in" ] || km_say pem "$km_line"
        return 0
        ;;
      *-----*) km_in= ;;
    esac
    [ -z "$km_in" ] || km_say pem "$km_line"
  done <./kubelet-client-current.pem
}

# The certificate that came since a run set the ones before it aside: all of those are in the backup.
km_newer() { # PKI-DIRECTORY
  km_enter "$1" || return 0
  km_whole=
  for km_file in ./.kubemint-rebootstrap-*; do
    case $km_file in
      *.kept | *.replaced) continue ;;
      *.part) return 0 ;;
    esac
    [ ! -d "$km_file" ] || [ -L "$km_file" ] || km_whole=yes
  done
  [ -z "$km_whole" ] || km_current "$1"
}

# The SHA-256 of the public half (SubjectPublicKeyInfo, DER) of the key that the kubelet asks with, by openssl: "none" where
# there is no such key, "unread" where it cannot be told. Of the key itself nothing is read by us.
km_asking() { # PKI-DIRECTORY
  command -v openssl >/dev/null || km_asked unread
  km_enter "$1" || km_asked none
  km_file=./kubelet-client.key.tmp
  [ -f "$km_file" ] || km_asked none
  km_is_small "$km_file" || km_asked unread
  km_public=$(openssl pkey -in "$km_file" -passin pass: -pubout 2>/dev/null) || km_public=
  # It goes when the kubelet has its answer.
  [ -f "$km_file" ] || km_asked none
  [ -n "$km_public" ] || km_asked unread
  km_line=$(printf '%s\n' "$km_public" | openssl pkey -pubin -pubout -outform DER 2>/dev/null | openssl dgst -sha256 -r)
  km_asked "${km_line%% *}"
}

km_asked() { # DIGEST|none|unread
  km_say asking "$1"
  km_quit
}

# A backup that is not needed any more is kept in place of the one before, or goes.
km_settle() { # keep|drop RUN KUBECONFIG-DIRECTORY PKI-DIRECTORY
  for km_dir in "$3" "$4"; do
    km_enter "$km_dir" || continue
    km_backup=./.kubemint-rebootstrap-$2
    for km_file in ./.kubemint-rebootstrap-*.kept ./.kubemint-rebootstrap-*.replaced; do
      [ ! -d "$km_file" ] || [ -L "$km_file" ] || rm -rf "$km_file" || km_fail remove "$km_dir"
    done
    [ -d "$km_backup" ] || continue
    if [ "$1" = keep ]; then
      mv "$km_backup" "$km_backup.kept" || km_fail move "$km_dir"
    else
      rm -rf "$km_backup" || km_fail remove "$km_dir"
    fi
    km_sync "$km_dir"
  done
}
