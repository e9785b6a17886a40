package bounded

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-runtime/berth/internal/errdefs"
	"github.com/berth-runtime/berth/internal/testutil"
)

func TestWhatIsRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	testutil.Must(t, errors.Join(
		os.WriteFile(at("file"), []byte("1234"), 0o600), os.WriteFile(at("large"), []byte("12345"), 0o600), os.WriteFile(at("empty"), nil, 0o600),
		os.Symlink("file", at("link")), syscall.Mkfifo(at("fifo"), 0o600), os.Mkdir(at("folder"), 0o700)))
	l, err := net.Listen("unix", at("socket"))
	testutil.Must(t, err)
	defer func() { testutil.Must(t, l.Close()) }()
	for name, want := range map[string]struct{ record, setting error }{
		"file":    {nil, nil},
		"empty":   {nil, nil},
		"link":    {errdefs.ErrDataLoss, nil},
		"large":   {errdefs.ErrDataLoss, errdefs.ErrInvalid},
		"fifo":    {errdefs.ErrDataLoss, nil}, // without a writer it is empty
		"folder":  {errdefs.ErrDataLoss, syscall.EISDIR},
		"socket":  {errdefs.ErrDataLoss, syscall.ENXIO},
		"nowhere": {fs.ErrNotExist, fs.ErrNotExist},

		strings.Repeat("n", 256): {syscall.ENAMETOOLONG, syscall.ENAMETOOLONG},
	} {
		for what, got := range map[string]struct {
			read func(string, int) ([]byte, error)
			want error
		}{"record": {Record, want.record}, "setting": {Setting, want.setting}} {
			data, err := got.read(at(name), 4)
			if !errors.Is(err, got.want) || err != nil && data != nil {
				t.Errorf("%s %.20s: %q, %v; want %v", what, name, data, err, got.want)
			}
			if err == nil && (name == "file" || name == "link") && string(data) != "1234" {
				t.Errorf("%s %s: %q", what, name, data)
			}
		}
	}
}
