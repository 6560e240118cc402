{{/* Ways out of the pod, for the NetworkPolicy. */}}

{{/* The port of a URL or of `host:port`. */}}
{{- define "aries-bridge.port" -}}
{{- $authority := regexReplaceAll "^[a-z]+://" . "" | splitList "/" | first -}}
{{- $named := regexFind ":[0-9]+$" $authority -}}
{{- if $named -}}
{{- trimPrefix ":" $named -}}
{{- else if regexMatch "^(wss|https)://" . -}}
443
{{- else if regexMatch "^(ws|http)://" . -}}
80
{{- else -}}
9092
{{- end -}}
{{- end -}}

{{/* A rule for the ports of some places; called with places, ports besides, and peers. */}}
{{- define "aries-bridge.way" -}}
{{- $ports := list -}}
{{- range .places -}}
{{- $ports = append $ports (include "aries-bridge.port" (. | trim)) -}}
{{- end -}}
{{- range .ports -}}
{{- $ports = append $ports (toString (int .)) -}}
{{- end -}}
- ports:
    {{- range uniq $ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
