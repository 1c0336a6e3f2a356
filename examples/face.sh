#!/usr/bin/env bash
# The curl lines of Oracle's FACE guide, tried on a recorder with live calls.
#
#   examples/face.sh [FOLDER]
#
# Starts `siprecd serve` with HTTPS in FOLDER (without: in one that is removed at the end), places
# calls with examples/src.py, and prints each line of the guide's examples and what is answered.
# Host, port and token are put in; all else is as printed there. Below each line stands what the
# answer must have; the exit status is 1 if one has it not. BIN names the folder of siprecd and
# python, if it is not the one that `make install` makes.

set -euo pipefail
unset ${!SRS_@} # they would overrule srs.toml
root=$(cd "$(dirname "$0")/.." && pwd)
bin=${BIN:-$root/.venv/bin}
folder=${1:-$(mktemp -d)}
is_kept=$#
mkdir -p "$folder"
cd "$folder"
failed=0

finish() {
    kill $(jobs -rp) 2> errors || true
    wait
    ((is_kept)) || rm -rf "$PWD"
}
trap finish EXIT

until_done() { # until_done PROCESS COMMAND...: waits for COMMAND to succeed while PROCESS lives
    local process=$1
    until "${@:2}"; do
        sleep 0.1
        kill -0 "$process" 2> errors || "${@:2}" || { cat ./*.log && exit 1; }
    done
}

# --- A recorder

cat > srs.toml << TOML
[sip]
listen = ["udp://127.0.0.1:0"]
drain_s = 0
[api]
listen = "127.0.0.1:0"
certificate = "self-signed"     # hence the -k of all lines
[users]
password_min_length = 9         # so long is the guide's
[storage]
database = "sqlite:///$PWD/siprecd.db"
recordings = "file://$PWD/recordings"
spool = "$PWD/spool"
TOML
cat > directory.toml << 'TOML'
[[custom-fields]]
name = "testCustomData1"

[[routes]]                      # calls it takes wait for a start; all others are recorded
id = 2
account = 1
pattern = "rss_g711_ulaw@10.10.249.104"
record = "on_demand"
TOML
"$bin/siprecd" directory apply directory.toml --config srs.toml
"$bin/siprecd" user add israpi@acmepacket.com --type api --account 1 --config srs.toml <<< Admin1234
"$bin/siprecd" serve --config srs.toml &> siprecd.log &
until_done $! grep -qs ready: siprecd.log
FACE=$(sed -n 's|.*ready:.* API https://||p' siprecd.log)
sip=$(sed -n 's|.*ready: SIP udp://\([0-9.:]*\).*|\1|p' siprecd.log)

# --- Calls

call() { # call UCID CALLER CALLED SECONDS: begins a call, and waits until it is answered
    (cd "$root" && exec "$bin/python" -m examples.src "sip:recorder@$sip" --seconds "$4" \
        --header "X-ISR-UCID: $1" --parties "sip:$2" "sip:$3") &> "call-$1.log" &
    until_done $! grep -qs '200 OK' "call-$1.log"
}
caller=sipp_g711_ulaw@10.10.248.107
called=rss_g711_ulaw@10.10.249.103
call 515-20746@10.10.248.107 $caller $called 1
first=$!
call x-isr-ucid-1-4355@10.10.248.107 $caller $called 1
wait $first $!
call x-isr-ucid-555-20746@10.10.248.107 sipp_g711_alaw@10.10.248.107 $called 600
call x-isr-ucid-8701-24030@10.10.248.107 $caller rss_g711_ulaw@10.10.249.104 600

# --- Lines and answers

ask() { # prints the line it reads, runs it, and prints the answer
    line=$(cat)
    printf '\n$ %s\n' "$line"
    answer=$(eval "$line" 2> errors) || cat errors
    printf '%s\n' "$answer"
}
want() { # want CODE ELEMENT...: this code (-: none), and elements in this order, NAME or NAME=VALUE
    local pattern="[<\"]code\"?[>:]$1[<,]" each
    [[ $1 != - ]] || pattern=
    for each in "${@:2}"; do
        pattern+=".*[<\"]${each%%=*}"
        [[ $each != *=* ]] || pattern+="\"?[>:]\"?${each#*=}"
        pattern+='["</>,} ]'
    done
    if ! tr -d '\n' <<< "$answer" | grep -qE "$pattern"; then
        echo "^^^ WRONG: expected code $*"
        failed=1
    fi
}
match='filename from=sipp_g711_.law to=rss_g711_ulaw start'
whose='fileStatus=0 ani=sipp_g711_ulaw dnis=rss_g711_ulaw account=1'
where='startTime rss=1 archived=[01] route=[12] archivalFailCount=0 archiverMode=Primary sensitive=0
    pauseLength=0 deleteFlag=false location=[12]'
rest='conversionStatus=[01] isrUcid ingressCallId pausedWithSilence=false customDataSets'

echo 'Basic FACE Commands'
ask << 'LINE'
curl -k https://$FACE/Face/version
LINE
want - result 'version=[0-9.]+ build [0-9a-f]+'
ask << 'LINE'
curl -k -X POST --data 'userEmail=israpi@acmepacket.com&password=Admin1234' https://$FACE/Face/login
LINE
want 0 message=ACK 'token=[0-9a-f-]{36}' expiration=86400seconds
TOKEN=$(sed -n 's|.*<token>\(.*\)</token>.*|\1|p' <<< "$answer")

printf '\nFetch Recordings\n'
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/details?token=$TOKEN"
LINE
want -1 match tmpRecordingId isrUcid=x-isr-ucid-555-20746@10.10.248.107 $match \
    match recordingId isrUcid $match match recordingId isrUcid $match
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/download?token=$TOKEN&filename=rss_g711_ulaw-515-20746@10.10.248.107.wav" > rss_g711_ulaw-515-20746@10.10.248.107.wav
LINE
answer="<begins>$(head -c 4 rss_g711_ulaw-515-20746@10.10.248.107.wav)</begins>"
want - begins=RIFF
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/details?token=$TOKEN&filename=rss_g711_ulaw-515-20746@10.10.248.107.wav"
LINE
want 0 recording recordingId filename=rss_g711_ulaw-515-20746@10.10.248.107.wav $whose \
    'duration=[1-9][0-9]*' $where archiverAction=0 $rest siprecDataSets dtmfDigits
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/details?token=$TOKEN&isrUcid=x-isr-ucid-1-4355@10.10.248.107"
LINE
want 0 recording recordingId filename $whose duration $where archiverAction=0 $rest \
    siprecDataSets dtmfDigits
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/details?token=$TOKEN&earliestStart=2017-03-22T00:00:00&latestStart=2017-03-22T23:59:59";echo;echo
LINE
want 19 'message=No recording found with supplied criteria'
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/details?token=$TOKEN&earliestStart=2017-03-22T00:00:00&latestStart=2117-03-22T23:59:59";echo;echo
LINE
want -1 match tmpRecordingId $match match recordingId $match match recordingId $match

printf '\nRecording Controls\n'
ask << 'LINE'
curl -k -X POST --data 'filename=startstoptest.wav' "https://$FACE/Face/audioRecording/start?token=$TOKEN&from=sipp_g711_ulaw&to=rss_g711_ulaw"
LINE
want 0 recording tmpRecordingId filename=startstoptest.wav $whose duration=0 $where \
    archiverAction=0 $rest siprecDataSets
sleep 1
ask << 'LINE'
curl -k -X POST --data 'filename=startstoptest.wav' "https://$FACE/Face/audioRecording/stop?token=$TOKEN&from=sipp_g711_ulaw&to=rss_g711_ulaw"
LINE
want 0 recording recordingId filename=startstoptest.wav $whose 'duration=[1-9][0-9]*' $where \
    previousFilename=startstoptest.wav archiverAction=2 $rest siprecDataSets dtmfDigits

printf '\nCustom Data\n'
curl -sk -o changed --data 'testCustomData1=testValue1' \
    "https://$FACE/Face/audioRecording/details?token=$TOKEN&filename=startstoptest.wav"
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/details?token=$TOKEN&testCustomData1=testValue1"
LINE
want 0 recording recordingId filename=startstoptest.wav $whose duration $where archiverAction \
    $rest customData name=testCustomData1 value=testValue1 siprecDataSets dtmfDigits
ask << 'LINE'
curl -k -X POST --data 'testCustomData1=testValue1' "https://$FACE/Face/audioRecording/details?token=$TOKEN&isrUcid=x-isr-ucid-1-4355@10.10.248.107"
LINE
want 0 recording recordingId filename $whose duration $where archiverAction=0 \
    $rest customData name=testCustomData1 value=testValue1 siprecDataSets dtmfDigits
ask << 'LINE'
curl -k -X GET -H "Accept: application/json" "https://$FACE/Face/audioRecording/details?token=$TOKEN&testCustomData1=testValue1"
LINE
want -1 match 'recordingId=[0-9]+' isrUcid=x-isr-ucid-1-4355@10.10.248.107 $match \
    match recordingId isrUcid=x-isr-ucid-8701-24030@10.10.248.107 $match
ask << 'LINE'
curl -k -X GET "https://$FACE/Face/audioRecording/details?token=$TOKEN&testCustomData1=testValue1&isrUcid=x-isr-ucid-1-4355@10.10.248.107&format=template&formatName=verint"
LINE
want - Call Data audio audio_segment channel_id=false recording_order=1 'audio_url=https://.*' \
    StartTime 'Duration=[0-9]+' ani=sipp_g711_ulaw dnis=rss_g711_ulaw unique_identifier=2 \
    time_offset=0 direction=0

exit "$failed"
