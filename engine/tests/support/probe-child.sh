#!/bin/sh
# A stand-in for the probe's child. The path of the model says how it ends. It speaks the protocol of
# engine/src/probe/protocol.rs.
echo '"ready"'
while read -r job; do
    echo '"loading"'
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
        echo '{"rejected":{"always":true}}'
        continue ;;
    esac
    echo '"running_row"'
    case "$job" in
    *dies-at-row*) kill -ABRT $$ ;;
    esac
    echo 'what a model may print'
    echo '"ran_row"'
    case "$job" in
    *dies-with-rows*) kill -SEGV $$ ;;
    esac
    case "$job" in
    *'"extent":"quick"'*) echo '{"compared_rows":null}' ;;
    esac
    case "$job" in
    *leaves-zero*'"extent":"quick"'*)
        echo '"left_zero_dims"'
        echo '"done"'
        continue ;;
    *dies-at-zero*'"crashed":[]'*)
        echo '{"trying_zero":[[0,0]]}'
        kill -FPE $$ ;;
    *dies-at-zero*)
        echo '{"trying_zero":[[0,1]]}' ;;
    *dies-at-every-zero*)
        echo "{\"trying_zero\":[[0,$$]]}"
        kill -FPE $$ ;;
    esac
    echo '{"survived":[[0,1]]}'
    case "$job" in
    *ends-idle*)
        # As if it were killed between two jobs. Its process is told for a test to wait for its end.
        file=${job#*\"file\":\"}
        echo $$ > "${file%%\"*}.pid"
        echo '"done"'
        exit 0 ;;
    esac
    echo '"done"'
done
