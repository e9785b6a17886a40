package wire

// AppendExit appends the binary form of an exit.
func AppendExit(data []byte, x Exit) []byte {
	e := newEncoder(data)
	e.exit(x)
	return e.Data
}

// DecodeExit is the opposite of [AppendExit].
func DecodeExit(data []byte) (Exit, error) {
	d := newDecoder(data)
	x := d.exit()
	return x, d.End()
}

func (e *encoder) exit(x Exit) {
	e.U8(uint8(x.Code))
	e.U8(uint8(x.Signal))
	e.Time(x.At)
	e.Bool(x.Known)
	e.Str(x.Reason[:min(len(x.Reason), MaxText)])
}

func (d *decoder) exit() Exit {
	return Exit{
		Code:   int(d.U8()),
		Signal: int(d.U8()),
		At:     d.Time(),
		Known:  d.Bool(),
		Reason: d.Str("reason", MaxText),
	}
}
