#!/bin/sh
# Makes the slates that are shown when an operator has none of their own: a plain
# picture with a sentence and a bar that moves, so that it is seen to be live. 2 s
# each, without sound; the loop has no seam. Needs ffmpeg with libx264, libx265
# and libsvtav1, and the DejaVu fonts; takes a minute. Nothing in them is
# anybody else's.
set -eu
cd "$(dirname "$0")"
sans=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
rm -f ./*.mp4

# make KIND TEXT WIDTH HEIGHT RATE CODEC ENCODER...
make() {
  kind=$1 text=$2 width=$3 height=$4 rate=$5 codec=$6
  shift 6
  ffmpeg -hide_banner -loglevel error -nostdin -y -f lavfi -i "color=0x101a20:s=${width}x$height:r=$rate:d=2" \
    -f lavfi -i "color=0x5f8f9f:s=$((width / 16))x$((height / 120)):r=$rate:d=2" -filter_complex "
[0:v]drawtext=fontfile=$sans:text='$text':x=(w-tw)/2:y=h*0.46-th/2:fontsize=$((height / 18)):fontcolor=0xd8e4e6,
drawbox=x=iw*0.35:y=ih*0.6:w=iw*0.3:h=ih/120:c=0x1e2d35:t=fill[back];
[back][1:v]overlay=x='W*(0.35+0.11875*(1-cos(PI*t)))':y='H*0.6',format=yuv420p" \
    -frames:v $((2 * rate)) -an -map_metadata -1 -fflags +bitexact -flags:v +bitexact \
    -color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv \
    "$@" -movflags +faststart "$kind-${height}p$rate-$codec.mp4"
}

for one in \
  'hold|The broadcast begins shortly' \
  'interruption|The broadcast will continue shortly' \
  'fault|We are working on a technical problem' \
  'ended|The broadcast has ended'; do
  kind=${one%%|*} text=${one#*|}
  for rate in 25 30; do
    for size in 640x360 1280x720; do
      make "$kind" "$text" "${size%x*}" "${size#*x}" $rate h264 -c:v libx264 -profile:v main -preset veryslow -tune animation -crf 30 \
        -bf 0 -g $rate -keyint_min $rate -x264-params scenecut=0:open-gop=0 -bsf:v filter_units=remove_types=6
    done
  done
  make "$kind" "$text" 1280 720 25 h265 -c:v libx265 -preset slow -crf 32 -tag:v hvc1 \
    -x265-params bframes=0:keyint=25:min-keyint=25:scenecut=0:open-gop=0:info=0:log-level=error
  make "$kind" "$text" 1280 720 25 av1 -c:v libsvtav1 -preset 6 -crf 45 -g 25 -svtav1-params pred-struct=1:enable-overlays=0
done
