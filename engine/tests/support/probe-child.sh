#!/bin/sh
# Stands in for the child in which models are tried, and ends as the path of the model says. It
# talks as engine/src/repository/probe/talk.rs has it.
echo '"ready"'
while read -r job; do
    echo '"loads"'
    case "$job" in
    *dies-at-load*)
        echo 'the last words' >&2
        kill -SEGV $$ ;;
    *dies-once*)
        # The next child finds what this one left.
        file=${job#*\"file\":\"}
        mark="${file%%\"*}.died"
        if mkdir "${mark}" 2>/dev/null; then kill -SEGV $$; fi ;;
    *exits*)
        exit 3 ;;
    *hangs*)
        exec sleep 600 ;;
    *grows*)
        text=0123456789
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23; do
            text="$text$text"
        done
        while :; do :; done ;;
    *refuses*)
        echo '{"refused":{"always":true}}'
        continue ;;
    esac
    echo '"runs"'
    case "$job" in
    *dies-at-row*) kill -ABRT $$ ;;
    esac
    echo 'what a model may print'
    echo '"ran"'
    case "$job" in
    *dies-with-rows*) kill -SEGV $$ ;;
    esac
    echo '{"compared":null}'
    case "$job" in
    *dies-at-zero*'"ended":[]'*)
        echo '{"tries":[[0,0]]}'
        kill -FPE $$ ;;
    *dies-at-zero*)
        echo '{"tries":[[0,1]]}' ;;
    *dies-at-every-zero*)
        echo "{\"tries\":[[0,$$]]}"
        kill -FPE $$ ;;
    esac
    echo '{"lived":[[0,1]]}'
    echo '"done"'
done
