package quickjson

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// document has one of each kind of field.
type document struct {
	Text    string            `json:"text"`
	Named   name              `json:"named,omitempty"`
	Number  int8              `json:"number"`
	Size    *uint64           `json:"size"`
	Yes     bool              `json:"yes"`
	List    []string          `json:"list"`
	Labels  map[string]string `json:"labels"`
	Deep    map[name][]inner  `json:"deep"`
	Untold  string
	Hidden  string `json:"-"`
	private string
	Inner   inner  `json:"inner"`
	Pointer *inner `json:"pointer"`
	Bytes   []byte `json:"bytes"`
	Real    float64
	Any     any       `json:"any"`
	Time    time.Time `json:"time"`
	Quoted  int       `json:"quoted,string"`
}

type (
	name  string
	inner struct {
		A, B int
		Next *inner `json:"next"`
	}
	embedding struct {
		inner
		C string
	}
)

// same fails unless both readers agree on a document.
func same[T any](t *testing.T, data []byte) {
	t.Helper()
	var got, want T
	gotErr, wantErr := Unmarshal(data, &got), json.Unmarshal(data, &want)
	if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
		t.Fatalf("%q: error %v, want %v", data, gotErr, wantErr)
	}
	if gotErr == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q:\n%+v, want\n%+v", data, got, want)
	}
}

// documents are plain ones, and such as are not.
var documents = []string{
	`{}`, ` { "text" : "a" , "number":-7,"yes":true } `, `{"size":18446744073709551615,"list":["a","b","c","d","e"]}`,
	`{"labels":{"a":"b","c":""},"deep":{"x":[{"A":1,"next":{"B":2}}],"y":[]},"list":[]}`, `{"inner":{"a":1}}`,
	`{"text":"\u00e9\n\"\\","list":["\ud83d\ude00","\ud800","` + "\xff" + `"]}`, `{"TEXT":"b"}`, `{"text":"a","text":"b"}`,
	`{"labels":{"a":"1","a":"2"}}`, `{"number":128}`, `{"number":1e1}`, `{"number":01}`, `{"number":-}`, `{"number":"1"}`,
	`{"text":null,"size":null,"list":null,"labels":null,"pointer":null,"yes":null}`, `{"unknown":{"a":[1,2,{"b":null}],"c":1.5}}`,
	`{"unknown":[1,"x",true,false,null,{"a":{"a":1}}],"yes":false}`, `{"bytes":"AAEC"}`, `{"Real":1.5}`, `{"any":[1,{"a":2}]}`,
	`{"time":"2026-01-02T03:04:05Z"}`, `{"quoted":"5"}`, `{"Hidden":"x","private":"y","-":"z"}`, `{"Untold":"x","untold":"y"}`, `{`,
	`{"text":"a"}x`, `{"text":"a",}`, `{"list":["a",]}`, `{"list":[,]}`, `{,}`, `[]`, `null`, `nul`, `"x"`, ``, `{"text" "a"}`,
	`{"pointer":{"A":1,"next":{"next":{"next":{}}}}}`, `{"text":"` + "\x01" + `"}`, `{"\u0074ext":"escaped name"}`, `{"teſt":"x"}`,
	`{"unknown":{"a":1,"a":2}}`, `{"unknown":-0,"number":-0}`, `{"list":[[]]}`, `{"unknown":tru}`, `{"unknown":{"A":{}}}`,
}

func TestBothReadersAgree(t *testing.T) {
	for _, d := range documents {
		same[document](t, []byte(d))
		same[embedding](t, []byte(d))
		same[map[string]inner](t, []byte(d))
	}
}

// Types whose names are not what their tags say. go vet would not let them be declared.
func TestBothReadersAgreeOnStrangeTags(t *testing.T) {
	for _, tags := range [][2]string{{"x", "x"}, {"x", "B"}, {"B", ""}, {`a\\b`, ""}, {`a\"b`, "A"}, {"a'b", ""}, {"a b", "-,"}, {"\u00e9", ""}} {
		fields := []reflect.StructField{
			{Name: "A", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(`json:"` + tags[0] + `"`)},
			{Name: "B", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(`json:"` + tags[1] + `"`)},
		}
		for _, name := range []string{"x", "A", "B", `a\\b`, `a\"b`, "a'b", "a b", "-", "\u00e9"} {
			got, want := reflect.New(reflect.StructOf(fields)), reflect.New(reflect.StructOf(fields))
			data := []byte(`{"` + name + `":"1"}`)
			if err := errors.Join(Unmarshal(data, got.Interface()), json.Unmarshal(data, want.Interface())); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Interface(), want.Interface()) {
				t.Errorf("tags %q: %s is %+v, want %+v", tags, data, got, want)
			}
		}
	}
}

// TestConfigurationsAreReadRightAway makes sure that there is a point in all this.
func TestConfigurationsAreReadRightAway(t *testing.T) {
	data, err := os.ReadFile("testdata/config.json")
	if err != nil {
		t.Fatal(err)
	}
	var got, want specs.Spec
	r := reader{data: data, fields: make(map[reflect.Type][]field)}
	if !r.value(reflect.ValueOf(&got).Elem(), 0) || !r.end() {
		t.Fatalf("not read to its end: %.60q is left", r.data)
	}
	if err := json.Unmarshal(data, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want\n%+v, %v", got, want, err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	if data, err := os.ReadFile("testdata/config.json"); err == nil {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		same[document](t, data)
		same[specs.Spec](t, data)
	})
}

func BenchmarkConfiguration(b *testing.B) {
	data, err := os.ReadFile("testdata/config.json")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var s specs.Spec
		if err := Unmarshal(data, &s); err != nil {
			b.Fatal(err)
		}
	}
}
