# SPDX-License-Identifier: Apache-2.0
# Sourced by ./run, ./test and .ci/run: installs what is missing, configures and builds with one progress line.
# The caller sets `root` (the repository) and has changed to it. Exit status: 1 when a step fails, 130 after Ctrl-C.

set -o pipefail
log_folder="build/logs"

say() { printf '%s\n' "$*" >&2; }
give_up() { say "$@"; exit 1; }

trap 'printf "\n" >&2; exit 130' INT

# Shows the lines that come in as one line that changes (on a terminal) or as a line every ten seconds, and keeps
# all of them in the log. Usage: command 2>&1 | follow TITLE LOG
follow() {
  local title=$1 log=$2 part line="" pending="" status shown=-10 started=$SECONDS width=0 text
  [ -t 2 ] && width=$({ tput cols || echo 80; } 2>/dev/null)
  while true; do
    IFS= read -r -t 1 part; status=$?
    if [ $status -eq 0 ]; then
      line=$pending$part pending=""
      printf '%s\n' "$line" >> "$log"
    elif [ $status -gt 128 ]; then  # nothing within the second: what came is half a line
      pending+=$part
    else
      [ -z "$pending$part" ] || printf '%s\n' "$pending$part" >> "$log"
      break
    fi
    text="$title $((SECONDS - started)) s  $line"
    if [ "$width" -gt 0 ]; then
      printf '\r\033[K%s' "${text:0:width-1}" >&2
    elif [ $((SECONDS - started - shown)) -ge 10 ]; then
      shown=$((SECONDS - started))
      [ $shown -lt 2 ] || say "${text:0:150}"
    fi
  done
  [ "$width" -eq 0 ] || printf '\r\033[K' >&2
}

# What a reader of a failed log wants first: the first errors with what stands around them, else the end.
show_errors() {
  local found
  found=$(grep -n -m 6 -E 'error:|CMake Error|^E: |undefined (symbol|reference)' "$1" | cut -d: -f1 | head -n 1)
  if [ -n "$found" ]; then
    sed -n "$((found > 2 ? found - 2 : 1)),$((found + 28))p" "$1" | cut -c 1-300 >&2
  else
    tail -n 20 "$1" | cut -c 1-300 >&2
  fi
}

# Usage: step TITLE LOGNAME COMMAND...   Says how long it took when that was over two seconds.
step() {
  local title=$1 log=$log_folder/$2.log started=$SECONDS
  shift 2
  mkdir -p "$log_folder"
  : > "$log"
  if ! "$@" < /dev/null 2>&1 | follow "$title" "$log"; then
    show_errors "$log"
    give_up "$title: failed after $((SECONDS - started)) s. The whole log: $root/$log"
  fi
  [ $((SECONDS - started)) -le 2 ] || say "$title: done in $((SECONDS - started)) s"
}

# Usage: missing_packages GROUP...   Prints those of tools/packages.txt that are not installed.
missing_packages() {
  local group name wanted=() installed
  while read -r group name _; do
    case " $* " in *" $group "*) wanted+=("$name") ;; esac
  done < tools/packages.txt
  # One call for all; what dpkg has never heard of it says on stderr.
  installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "${wanted[@]}" 2>/dev/null)"
  for name in "${wanted[@]}"; do
    case $installed in *" installed:$name "*) ;; *) printf '%s\n' "$name" ;; esac
  done
}

install_packages() {  # as_root... -- package...
  local as_root=()
  while [ "$1" != -- ]; do as_root+=("$1"); shift; done
  shift
  local lists=(/var/lib/apt/lists/*_Packages*)
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300)
  if [ ! -e "${lists[0]}" ] || ! apt-cache show "$@" > /dev/null 2>&1; then
    "${apt[@]}" update || return
    "${apt[@]}" install --no-install-recommends "$@"
  else
    # Old lists name files that the mirror no longer has: fetch new ones and try once more.
    "${apt[@]}" install --no-install-recommends "$@" ||
      { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$@"; }
  fi
}

# Usage: need_packages GROUP...
need_packages() {
  command -v dpkg-query > /dev/null || give_up "Only Debian and its kin can be set up by this script. tools/packages.txt names what to install."
  local missing as_root=()
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo > /dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
      say "To install by sudo: ${missing[*]}"
      sudo -v || give_up "Without sudo, run this as root and start again:" "  apt-get install --no-install-recommends ${missing[*]}"
      as_root=(sudo)
    else
      give_up "Packages are missing. Run this as root and start again:
  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    fi
  fi
  step "Installing ${#missing[@]} packages" install install_packages "${as_root[@]}" -- "${missing[@]}"
}

# Usage: configure PRESET   Only when the presets, or the place of the repository, are not those of last time; ninja itself
# looks after the CMake files.
configure() {
  local preset=$1 folder=build/$1
  if [ -e "$folder/CMakeCache.txt" ] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$folder/CMakeCache.txt"; then
    rm -rf "$folder"  # it was configured elsewhere; ccache has what it built
  fi
  if [ ! -e "$folder/build.ninja" ] || ! cmp -s CMakePresets.json "$folder/configured_with.json"; then
    step "Configuring $preset" "$preset-configure" cmake --preset "$preset"
    cp CMakePresets.json "$folder/configured_with.json"
  fi
}

# Usage: build PRESET [TARGET...]   As many jobs as there are cores, and 1.5 GiB of memory for each.
build() {
  local preset=$1 cores memory jobs
  shift
  configure "$preset"
  cores=$(nproc)
  memory=$(awk '/^MemAvailable/ { print int($2 / 1572864) }' /proc/meminfo 2>/dev/null)
  jobs=$((${memory:-$cores} < cores ? ${memory:-$cores} : cores))
  step "Building $preset" "$preset-build" cmake --build --preset "$preset" --parallel $((jobs > 0 ? jobs : 1)) \
    ${1:+--target "$@"}
}
