# shellcheck shell=sh
# The front of every script that kubemint runs on a host: what the login left in functions, options and variables of the
# shell steers nothing of what follows.
#
# bash takes functions and options from its environment, programs the form of their answers. Special builtins (unset, set,
# command below) come before functions in every POSIX shell; all other words that a script calls are freed of functions here.
# kubemint sends `set +xv` and the time limit in front of this. templates/service.sh leaves variables to the command it runs.
# Must run under dash, bash and busybox.
# shellcheck disable=SC3044 # where there is no shopt, there is nothing to set
set +abCefmux
unset -f [ alias bash cat cd chgrp chmod chown command curl cut date dd df echo export expr false getconf grep head id kill ln \
  local ls lsattr mkdir mv nc openssl perl printf ps pwd python3 read rm rmdir sed setfacl setsid sh sha256sum shasum shopt \
  sleep stat sudo sync systemctl tail test timeout touch tr true type ulimit umask unalias wait wget
# An empty PATH would name the working directory. bash alone has this one: what changes the meaning of patterns and words. sh is bash in POSIX mode, as from the start.
PATH=/dev/null shopt -u nullglob failglob dotglob nocaseglob nocasematch globstar globskipdots extglob extquote lastpipe \
  xpg_echo localvar_inherit assoc_expand_once inherit_errexit execfail cdable_vars cdspell autocd patsub_replacement \
  varredir_close compat31 compat32 compat40 compat41 compat42 compat43 compat44 2>/dev/null || :
PATH=/dev/null shopt -uo keyword physical histexpand functrace errtrace pipefail 2>/dev/null || :
command export -n SHELLOPTS BASHOPTS 2>/dev/null || :
