# shellcheck shell=sh
# What kubemint runs on a host to put the kept version of files back. It is sent after install.sh, whose functions it
# calls, and obeys the same rules: all targets of a host are judged before one is changed, each file changes places with
# its kept version by renames, and no signal stops that halfway.
#
# A kill between the two renames leaves both names on the version that was put back: a second run finds it in its place. The
# other one has a temporary name still, from which the next run that writes there makes it the kept one (km_sweep).
# shellcheck disable=SC2034,SC2154 # states are set by install.sh, or through eval with an index

km_restoring=yes
km_host_way=

# Right after km_look of the same directory, whose files these are. Decides what km_do there is: swap, lone, drop, leave.
# HOW is swap (with the kept version), drop (the file goes), or any (swap, whatever the file holds now). INSTALLED is what
# the file must hold, REPLACED what its kept version must, or - where that is not known.
km_weigh() { # DIRECTORY-INDEX, then for each file: INDEX NAME HOW INSTALLED REPLACED
  km_work=$1
  shift
  km_kept=
  km_kept_sums=
  km_open_to_others=
  [ -n "$km_rest" ] || km_find_kept "$@"
  [ -z "$km_kept" ] || km_hash_kept
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-}"
    # Without a state it was refused already.
    [ -z "$km_state" ] || km_decide "$@"
    shift 5
  done
}

km_find_kept() {
  while [ $# -gt 0 ]; do
    eval "km_state=\${km_state_$1:-}"
    km_previous=./.$2.kubemint-previous
    if [ -z "$km_state" ] || [ "$3" = drop ]; then
      :
    elif [ -L "$km_previous" ] || { [ -e "$km_previous" ] && [ ! -f "$km_previous" ]; }; then
      km_refuse_kept "$1" unusable
      eval "km_state_$1="
    elif [ -f "$km_previous" ]; then
      km_kept="$km_kept $km_previous"
    fi
    shift 5
  done
}

# One that is huge is not read: it is known by its name alone, and its sum is `huge`.
km_hash_kept() {
  # shellcheck disable=SC2086 # our names hold no blanks
  km_list=$(ls -ldn $km_kept) || km_fail_dir "$km_work" look
  km_held=$km_names
  km_names=$km_kept
  km_sort_by_size
  km_names=$km_held
  # shellcheck disable=SC2086
  [ -z "$km_small" ] || km_kept_sums=$($km_hash $km_small)
  for km_name in $km_kept; do
    case " $km_small " in
      *" $km_name "*) continue ;;
    esac
    km_kept_sums="$km_kept_sums${km_kept_sums:+$km_newline}huge $km_name"
    km_pick "$km_name"
    ! km_is_shared || km_open_to_others="$km_open_to_others $km_name"
  done
}

km_refuse_kept() { # INDEX WHY
  km_say kept "$@"
  km_refused=yes
}

# shellcheck disable=SC3013 # dash, bash and busybox have -ef
km_decide() { # INDEX NAME HOW INSTALLED REPLACED
  km_now=none
  if [ "$km_state" != create ]; then
    km_pick_sum "./$2"
    km_now=$km_sum
  fi
  km_found=${km_sums:-}
  km_sums=$km_kept_sums
  km_pick_sum "./.$2.kubemint-previous"
  km_sums=$km_found
  km_do=leave
  case $3/$km_now in
    drop/none) ;;
    "drop/$4") km_do=drop ;;
    "swap/$4")
      case $km_sum/$5 in
        -/* | "$5/$5") ;;
        */-) ;;
        *) km_sum=- ;;
      esac
      if [ "$km_sum" = - ]; then
        km_refuse_kept "$1" absent
      else
        km_do=swap
      fi
      ;;
    # It cannot be read.
    swap/- | drop/-) km_refuse_kept "$1" changed ;;
    # It was put back already.
    "swap/$5") ;;
    any/none) [ "$km_sum" = - ] || km_do=lone ;;
    any/*)
      if [ "$km_sum" != - ] && ! [ "./$2" -ef "./.$2.kubemint-previous" ]; then
        km_do=swap
        km_turn "$@"
      fi
      ;;
    *) km_refuse_kept "$1" changed ;;
  esac
  if [ "$km_do" != leave ] && { km_is_mounted "./$2" || km_is_mounted "./.$2.kubemint-previous"; }; then
    km_say mounted "$1"
    km_refused=yes
  fi
  # A copy takes the place of what others may hold open for writing, and of this none can be made.
  case $km_do/$km_open_to_others' ' in
    leave/* | drop/*) ;;
    *" ./.$2.kubemint-previous "*) km_refuse_kept "$1" huge ;;
  esac
  eval "km_do_$1=\$km_do km_now_$1=\$km_now"
  [ "$km_do" = leave ] || eval "km_work_$km_work=yes"
}

# Without digests to go by, all files of a host go the same way: each to its older version, or each to its newer one. One
# that differs was exchanged alone, as by a run that was killed between two files.
# shellcheck disable=SC3013
km_turn() { # INDEX NAME
  [ "$km_sum" != "$km_now" ] || return 0
  km_way=
  [ "./$2" -nt "./.$2.kubemint-previous" ] && km_way=back
  [ "./.$2.kubemint-previous" -nt "./$2" ] && km_way=forth
  case $km_way/${km_host_way:=$km_way} in
    /* | back/back | forth/forth) ;;
    *) km_refuse_kept "$1" mixed ;;
  esac
}

# Before either version loses its name, both have a second one.
km_ready() { # INDEX NAME
  eval "km_do=\${km_do_$1:-}"
  km_previous=./.$2.kubemint-previous
  case $km_do in
    swap | lone) ;;
    *) return 0 ;;
  esac
  km_choose "$1" "$km_previous"
  eval "km_how_back_$1=\$km_how"
  if [ "$km_do/$km_how" != lone/link ]; then
    km_double "$1" "$km_previous" "./.kubemint-$km_nonce-$1.tmp" "$km_how"
  fi
  [ "$km_do" = swap ] || return 0
  km_choose "$1" "./$2"
  eval "km_how_$1=\$km_how"
  km_double "$1" "./$2" "./.kubemint-$km_nonce-$1-previous-$2.tmp" "$km_how"
}

km_choose() { # INDEX NAME: into km_how
  km_list=$(ls -ldn "$2") || km_fail "$1" look
  km_pick "$2"
  if km_is_private; then
    km_how='link'
  elif [ "$km_size" -le "$km_largest" ]; then
    km_how='copy'
  else
    km_how='large'
  fi
}

km_put() { # INDEX NAME
  eval "km_do=\${km_do_$1:-} km_how=\${km_how_$1:-} km_how_back=\${km_how_back_$1:-}"
  km_previous=./.$2.kubemint-previous
  km_temp=./.kubemint-$km_nonce-$1.tmp
  km_older=./.kubemint-$km_nonce-$1-previous-$2.tmp
  km_before=$km_changed
  case $km_do in
    swap)
      km_changed=yes
      if ! mv -f "$km_temp" "./$2" || ! mv -f "$km_older" "$km_previous"; then
        [ ! -f "$km_older" ] || km_take_back "$2"
        km_fail "$1" rename
      fi
      [ "$km_how" != large ] || km_repair "$1" "$km_previous"
      ;;
    lone)
      if [ "$km_how_back" = link ]; then
        km_move "$1" "$km_previous" "./$2"
      else
        km_move "$1" "$km_temp" "./$2"
        rm -f "$km_previous" || km_fail "$1" remove
      fi
      ;;
    drop)
      km_changed=yes
      rm -f "./$2" && return
      [ ! -f "./$2" ] || km_changed=$km_before
      km_fail "$1" remove
      ;;
  esac
  [ "$km_how_back" != large ] || km_repair "$1" "./$2"
}

# The kept version has its name still.
km_take_back() { # NAME
  if [ -f "$km_temp" ]; then
    km_changed=$km_before
  elif mv -f "$km_older" "./$1"; then
    # What was put back is the same file, or a copy of it.
    [ "$km_how" = copy ] || km_changed=$km_before
  else
    # This name is its only one: the next run finds it (km_sweep).
    km_lefts=0
  fi
}

# Known not to have been done where its source is there still.
km_move() { # INDEX NAME NEW-NAME
  km_changed=yes
  mv -f "$2" "$3" && return
  [ ! -f "$2" ] || km_changed=$km_before
  km_fail "$1" rename
}

# In the directory of these files, where there was something to do.
km_finish() { # for each file: INDEX NAME
  sync . || km_fail "$1" sync
  while [ $# -gt 0 ]; do
    eval "km_do=\${km_do_$1:-}"
    case $km_do in
      swap | lone)
        km_all=$(ls -ldn "./$2")
        km_confirm "$1" "./$2"
        km_sums=
        km_is_huge || km_sums=$($km_hash "./$2")
        km_pick_sum "./$2"
        eval "km_now_$1=\$km_sum"
        ;;
      drop) [ ! -e "./$2" ] || km_fail "$1" remove ;;
    esac
    shift 2
  done
}

km_report() { # INDEX...
  for km_index; do
    eval "km_do=\${km_do_$km_index:-} km_now=\${km_now_$km_index:-}"
    case $km_do in
      swap | lone) km_say "done" "$km_index" restored "$km_now" ;;
      drop) km_say "done" "$km_index" removed - ;;
      *) km_say "done" "$km_index" same "$km_now" ;;
    esac
  done
}
