#!/usr/bin/env bash
# Runs a study, kills it with -9 three times at random moments, lets it finish, and compares its table with that
# of the same study left alone:  studies/kill_and_resume.sh STUDY_FILE UNINTERRUPTED_STUDY KILLED_STUDY [MOST_SECONDS]
set -u
study=$1 whole=$2 killed=$3 most=${4:-300}
for attempt in 1 2 3; do
    .venv/bin/spineloss study run "$study" -o "$killed" &
    seconds=$((RANDOM % most + 10))
    sleep "$seconds"
    kill -9 $! && echo "killed after $seconds s"
    wait $! 2>/dev/null
done
.venv/bin/spineloss study run "$study" -o "$killed"
cmp "$whole/table.csv" "$killed/table.csv" && echo "table.csv: identical"
