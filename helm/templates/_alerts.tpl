{{/* One alert: called with root, name, the values about it, the expression, and what to tell. */}}
{{- define "aries-bridge.alert" -}}
{{- $rule := .root.Values.monitoring.prometheusRule -}}
{{- if .about.enabled }}
- alert: AriesBridge{{ .name }}
  expr: |-
    {{- .expr | replace "SELECTOR" (include "aries-bridge.metricSelector" .root) | trim | nindent 4 }}
  for: {{ .about.for }}
  labels:
    severity: {{ .about.severity }}
    namespace: {{ .root.Release.Namespace }}
    {{- with $rule.alertLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    summary: {{ .summary | quote }}
    description: {{ .description | quote }}
    runbook_url: {{ printf "%s#ariesbridge%s" (trimSuffix "#" $rule.runbookUrl) (lower .name) | quote }}
{{- end }}
{{- end -}}

{{/* The labels that monitors give to the metrics of these pods, and to no others. */}}
{{- define "aries-bridge.metricSelector" -}}
{{- with .Values.monitoring.prometheusRule.selector -}}
{{- . -}}
{{- else -}}
namespace={{ .Release.Namespace | quote }},pod=~"{{ include "aries-bridge.fullname" . }}-(of-[0-9]+-[0-9]+|[a-z0-9]{1,10}-[a-z0-9]{5})"
{{- end -}}
{{- end -}}
