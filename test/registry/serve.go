package registry

import (
	"encoding/json"
	"net/http"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
)

func (s *Server) serveManifest(w http.ResponseWriter, r *http.Request, repository, reference string) {
	file, mediaType, d, ok := s.catalog.manifest(repository, reference)
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "no manifest "+reference+" in "+repository)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	serveFile(w, r, file, d)
}

func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request, reference string) {
	d := digest.Digest(reference)
	file, ok := s.catalog.blobs[d]
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "no blob "+reference)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	serveFile(w, r, file, d)
}

// serveFile answers with a file, or a range of it.
func serveFile(w http.ResponseWriter, r *http.Request, path string, d digest.Digest) {
	f, err := os.Open(path)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	defer f.Close()
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Etag", `"`+d.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (s *Server) serveTags(w http.ResponseWriter, repository string) {
	tags := s.catalog.tagList(repository)
	if tags == nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "no repository "+repository)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"name": repository, "tags": tags})
}

// refuse answers with an error body as the distribution specification defines it.
func refuse(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may have gone away; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(v)
}
