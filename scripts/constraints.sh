#!/bin/sh
# Resolves constraints.txt and constraints-labelstudio.txt to the newest versions, for Python 3.10 to 3.13.
# Usage: constraints.sh UV STUDIO_VERSION
set -eu
uv=$1
studio=$2

# resolve FILE REQUIREMENTS...: the file is replaced only when all went well.
resolve() {
    file=$1
    shift
    "$uv" pip compile --universal --python-version 3.10 --constraint scripts/constraints.in --upgrade \
        --no-header --no-annotate --no-emit-index-url --quiet "$@" > "$file.new"
    tidy < "$file.new" > "$file"
    rm "$file.new"
    echo "$file: $(grep -c == "$file") versions"
}

# Keeps a marker only where the version of a package depends on it.
tidy() {
    awk '
    {
        gsub(/ and python_full_version < .3\.14./, "")
        gsub(/python_full_version < .3\.14. and /, "")
        gsub(/ and \(sys_platform == .darwin. or sys_platform == .linux.\)/, "")
        split($1, part, "==")
        name[NR] = part[1]; line[NR] = $0; versions[part[1]]++
    }
    END {
        for (row = 1; row <= NR; row++) {
            if (versions[name[row]] == 1) sub(/ ;.*/, "", line[row])
            print line[row]
        }
    }'
}

resolve constraints.txt pyproject.toml --extra offline --extra dev
echo "label-studio==$studio" | resolve constraints-labelstudio.txt -
