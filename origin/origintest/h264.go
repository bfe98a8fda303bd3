package origintest

// The smallest H.264 that decoders take: Constrained Baseline, an I picture of
// DC-predicted macroblocks without residual (grey), P pictures that skip all.
// Clause numbers are those of ITU-T H.264.

const macroblock = 16

func (s *Source) size() (width, height uint32) {
	width, height = 64, 48
	if s.Width > 0 {
		width = uint32(s.Width)
	}
	if s.Height > 0 {
		height = uint32(s.Height)
	}
	return width / macroblock, height / macroblock
}

// sps writes a sequence parameter set (7.3.2.1.1) with the frame rate in its
// VUI (E.1.1). Picture order follows decoding order: pic_order_cnt_type 2.
func (s *Source) sps() []byte {
	width, height := s.size()
	num, den := s.rate()
	var w bitWriter
	w.bits(66, 8)   // profile_idc: Baseline
	w.bits(0xc0, 8) // constrained
	w.bits(40, 8)   // level_idc
	w.ue(0)         // seq_parameter_set_id
	w.ue(0)         // log2_max_frame_num_minus4
	w.ue(2)         // pic_order_cnt_type
	w.ue(1)         // max_num_ref_frames
	w.bits(0, 1)    // gaps_in_frame_num_value_allowed_flag
	w.ue(width - 1)
	w.ue(height - 1)
	w.bits(0b1101, 4)         // frame_mbs_only, direct_8x8_inference, no cropping, VUI
	w.bits(0b0000_1, 5)       // of the VUI only timing_info
	w.bits(uint32(den), 32)   // num_units_in_tick
	w.bits(2*uint32(num), 32) // time_scale: two fields a frame
	w.bits(0b1000_1, 5)       // fixed rate, no HRD, no pic_struct, restrictions
	w.bits(1, 1)              // motion_vectors_over_pic_boundaries_flag
	w.ue(0)                   // max_bytes_per_pic_denom
	w.ue(0)                   // max_bits_per_mb_denom
	w.ue(10)                  // log2_max_mv_length_horizontal
	w.ue(10)                  // log2_max_mv_length_vertical
	w.ue(0)                   // max_num_reorder_frames
	w.ue(1)                   // max_dec_frame_buffering
	return w.nalu(0x67)
}

// pps writes a picture parameter set (7.3.2.2).
func pps() []byte {
	var w bitWriter
	w.ue(0)      // pic_parameter_set_id
	w.ue(0)      // seq_parameter_set_id
	w.bits(0, 2) // CAVLC, no bottom field
	w.ue(0)      // num_slice_groups_minus1
	w.ue(0)      // num_ref_idx_l0_default_active_minus1
	w.ue(0)      // num_ref_idx_l1_default_active_minus1
	w.bits(0, 3) // no weighted prediction
	w.ue(0)      // pic_init_qp_minus26, se(v)
	w.ue(0)      // pic_init_qs_minus26, se(v)
	w.ue(0)      // chroma_qp_index_offset, se(v)
	w.bits(0, 3) // no deblocking control, intra constraint, redundant pictures
	return w.nalu(0x68)
}

// idrSlice writes a key picture (7.3.3).
func (s *Source) idrSlice() []byte {
	width, height := s.size()
	var w bitWriter
	w.ue(0)      // first_mb_in_slice
	w.ue(7)      // slice_type: all I
	w.ue(0)      // pic_parameter_set_id
	w.bits(0, 4) // frame_num
	w.ue(s.idr)  // idr_pic_id: differs between neighbours
	w.bits(0, 2) // dec_ref_pic_marking
	w.ue(0)      // slice_qp_delta, se(v)
	for range width * height {
		w.ue(3)      // mb_type: I_16x16, DC prediction, no coefficients
		w.ue(0)      // intra_chroma_pred_mode: DC
		w.ue(0)      // mb_qp_delta, se(v)
		w.bits(1, 1) // coeff_token: none
	}
	s.idr ^= 1
	return w.nalu(0x65)
}

// skipSlice writes a picture that repeats the one before; n counts from the key
// picture.
func (s *Source) skipSlice(n uint32) []byte {
	width, height := s.size()
	var w bitWriter
	w.ue(0)              // first_mb_in_slice
	w.ue(5)              // slice_type: all P
	w.ue(0)              // pic_parameter_set_id
	w.bits(n%16, 4)      // frame_num
	w.bits(0, 3)         // no override, no reordering, sliding window
	w.ue(0)              // slice_qp_delta, se(v)
	w.ue(width * height) // mb_skip_run
	return w.nalu(0x41)
}

// bitWriter writes a raw byte sequence payload.
type bitWriter struct {
	b    []byte
	free int // bits of the last byte
}

func (w *bitWriter) bits(v uint32, n int) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.b, w.free = append(w.b, 0), 8
		}
		w.free--
		w.b[len(w.b)-1] |= byte(v>>n&1) << w.free
	}
}

// ue writes an Exp-Golomb code (9.1). Of se(v), it writes 0.
func (w *bitWriter) ue(v uint32) {
	n := 0
	for (v+1)>>(n+1) > 0 {
		n++
	}
	w.bits(0, n)
	w.bits(v+1, n+1)
}

// nalu ends the payload (7.3.2.11) and returns it behind its header, with
// emulation prevention (7.4.1.1).
func (w *bitWriter) nalu(header byte) []byte {
	w.bits(1, 1)
	out := []byte{header}
	zeros := 0
	for _, b := range w.b {
		if zeros == 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}
