#!/bin/sh
# Makes clip.mp4, what `surgecast feed` and `surgecast demo` show: 16 s of a
# made-up monitor, H.264 and AAC. Needs ffmpeg with libx264 and the DejaVu
# fonts; takes about a minute. Nothing in the clip is anybody else's.
#
# 16 s is the shortest time that holds whole seconds (a beep, a heartbeat and a
# key picture in each), whole video frames (400 of 1/25 s) and whole AAC frames
# (750 of 1024/48000 s), so that the clip can be repeated without a seam.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ffmpeg="ffmpeg -hide_banner -loglevel error -nostdin -y"
sans=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
mono=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf

# The heartbeat, drawn once: 160 pixels a second, so 4 beats in the width. Each
# column is lit between the curve's heights at its two edges, with a glow
# around. p is the phase of the beat, 0 to 1; the peak is at 0.4.
wave='(0.13*exp(-pow((p-0.22)/0.035,2))-0.14*exp(-pow((p-0.365)/0.013,2))+exp(-pow((p-0.4)/0.017,2))-0.26*exp(-pow((p-0.437)/0.015,2))+0.25*exp(-pow((p-0.66)/0.055,2)))'
height() { printf '(92-72*%s)' "$wave" | sed "s#(p-#(mod($1,160)/160-#g"; }
distance="st(0,$(height X));st(1,$(height 'X+1'));st(2,max(0,max(Y-max(ld(0),ld(1)),min(ld(0),ld(1))-Y)))"
$ffmpeg -f lavfi -i "color=black:s=640x120:r=1:d=1,format=gray,geq=lum='$distance;min(255,255*clip(1.6-ld(2),0,1)+80*exp(-pow(ld(2)/4,2)))'" \
  -frames:v 1 "$work/wave.png"

# The still picture behind: dark, with a faint raster and a frame.
$ffmpeg -f lavfi -i "gradients=s=640x360:c0=0x0d1b22:c1=0x081015:x0=0:y0=0:x1=640:y1=360:d=1:r=1:speed=0.00001" -frames:v 1 -vf "
format=rgb24,
drawgrid=w=32:h=30:t=1:c=0x5fb7a8@0.05,
drawbox=x=0:y=212:w=640:h=1:c=0x5fb7a8@0.25:t=fill,
drawbox=x=0:y=333:w=640:h=1:c=0x5fb7a8@0.25:t=fill,
drawtext=fontfile=$sans:text='surgecast':x=30:y=26:fontsize=30:fontcolor=0xe8f1ef,
drawtext=fontfile=$sans:text='demo feed':x=32:y=64:fontsize=16:fontcolor=0x7fb5aa,
drawtext=fontfile=$sans:text='generated pattern, no patient':x=30:y=340:fontsize=12:fontcolor=0x6d8a86,
drawtext=fontfile=$sans:text='16 s loop':x=w-tw-30:y=340:fontsize=12:fontcolor=0x6d8a86,
drawtext=fontfile=$sans:text='s':x=424:y=160:fontsize=22:fontcolor=0x7fb5aa
" "$work/back.png"

# The moving picture: the curve lights up where the sweep is and fades behind
# it (one line of brightness per frame, stretched), the lamp at the right is on
# while the beep sounds, and the time runs in seconds and frames.
$ffmpeg -loop 1 -framerate 25 -i "$work/back.png" -loop 1 -framerate 25 -i "$work/wave.png" \
  -f lavfi -i "color=black:s=640x2:r=25,format=gray,geq=lum='255*pow(1-mod(mod(T,4)*160-X+640,640)/640,1.6)'" \
  -f lavfi -i "color=black:s=640x2:r=25,format=gray,geq=lum='150*exp(-pow(mod(mod(T,4)*160-X+640,640)/7,2))'" \
  -f lavfi -i "color=0x74f0c8:s=640x120:r=25" -filter_complex "
[2:v]scale=640:120[fade];
[3:v]scale=640:120[head];
[1:v]format=gray[wave];
[wave][fade]blend=all_mode=multiply[lit];
[lit][head]blend=all_mode=lighten[mask];
[4:v]format=rgba[green];
[green][mask]alphamerge[trace];
[0:v][trace]overlay=0:213,
drawtext=fontfile=$mono:text='%{eif\:trunc(n/25)\:d\:2}':x=192:y=106:fontsize=92:fontcolor=0xf4fbfa,
drawtext=fontfile=$mono:text='%{eif\:mod(n,25)\:d\:2}':x=330:y=138:fontsize=56:fontcolor=0x74f0c8,
drawbox=x=574:y=34:w=36:h=36:c=0x74f0c8@0.18:t=1,
drawbox=x=579:y=39:w=26:h=26:c=0xffd479:t=fill:enable='between(mod(n,25),10,12)',
noise=alls=3:allf=t,
format=yuv420p" \
  -frames:v 400 -an -c:v libx264 -profile:v high -preset veryslow -bf 0 -g 25 -keyint_min 25 \
  -x264-params scenecut=0:open-gop=0 -b:v 520k -maxrate 650k -bufsize 650k \
  -color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv \
  -bsf:v filter_units=remove_types=6 "$work/video.mp4"

# The sound: a quiet fifth, and a short beep at each heartbeat. Three rounds
# are encoded and the AAC frames of the second are kept: before a decoder's
# output begins there is one frame of priming, so that frame 751 is heard at
# 16 s, and the frame before it is the same as the last one of the round.
$ffmpeg -f lavfi -i "aevalsrc='0.020*sin(2*PI*110*t)+0.014*sin(2*PI*165*t)+0.16*sin(2*PI*880*t)*between(mod(t,1),0.4,0.52)*pow(sin(PI*(mod(t,1)-0.4)/0.12),2)':s=48000:c=mono:d=48" \
  -ac 2 -c:a aac -profile:a aac_low -b:a 64k "$work/three.aac"
$ffmpeg -i "$work/three.aac" -c copy -bsf:a "noise=amount=0:drop=lt(n\,751)+gt(n\,1500)" "$work/audio.aac"

$ffmpeg -i "$work/video.mp4" -i "$work/audio.aac" -map 0:v -map 1:a -c copy \
  -map_metadata -1 -fflags +bitexact -movflags +faststart -f mp4 "$work/clip.mp4"
mv "$work/clip.mp4" clip.mp4
