package wire

import "github.com/berth-runtime/berth/runtime/keeper/codec"

// encoder and decoder add the forms that only messages have.
type (
	encoder struct{ codec.Encoder }
	decoder struct{ codec.Decoder }
)

func newEncoder(data []byte) encoder { return encoder{codec.Encoder{Data: data}} }

func newDecoder(data []byte) decoder { return decoder{codec.Decoder{Data: data}} }
