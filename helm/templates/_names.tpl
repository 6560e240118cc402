{{/* Names and labels. */}}

{{- define "aries-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 46 | trimSuffix "-" -}}
{{- end -}}

{{/* Of the 63 characters of a pod's name a ReplicaSet's hash and the pod's own mark need 17, and are cut off beyond. */}}
{{- define "aries-bridge.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" -}}
{{- else if contains (include "aries-bridge.name" .) .Release.Name -}}
{{- .Release.Name | trunc 46 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "aries-bridge.name" .) | trunc 46 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "aries-bridge.selectorLabels" -}}
app.kubernetes.io/name: {{ include "aries-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pods that bridge; the pod of `helm test` is another component. */}}
{{- define "aries-bridge.bridgeLabels" -}}
{{ include "aries-bridge.selectorLabels" . }}
app.kubernetes.io/component: bridge
{{- end -}}

{{- define "aries-bridge.labels" -}}
{{ include "aries-bridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What every object says of itself: called with the root, its name, its component and perhaps more. */}}
{{- define "aries-bridge.metadata" -}}
name: {{ .name }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "aries-bridge.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component | default "bridge" }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "aries-bridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "aries-bridge.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "aries-bridge.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Kafka's names of the topics, by their names in `kafka.topics.names`. */}}
{{- define "aries-bridge.topics" -}}
{{- $prefix := .Values.kafka.topics.prefix -}}
{{- range $topic, $name := .Values.kafka.topics.names }}
{{ $topic }}: {{ $name | default (printf "%s.%s" $prefix (ternary "market-status" $topic (eq $topic "marketStatus"))) | quote }}
{{- end }}
{{- end -}}

{{/* The name of a topic's object, as `aries-bridge topics --strimzi` makes it: the topic's own, where Kubernetes takes it. */}}
{{- define "aries-bridge.objectName" -}}
{{- if regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" . -}}
{{- . -}}
{{- else -}}
{{- $labels := list -}}
{{- range splitList "." (lower .) -}}
{{- $labels = append $labels (regexReplaceAll "[^a-z0-9]+" . "-" | trimAll "-") -}}
{{- end -}}
{{- $readable := without $labels "" | join "." | trunc 244 -}}
{{- printf "%s-%s" (regexReplaceAll "[-.]+$" $readable "" | default "topic") (sha256sum . | trunc 8) -}}
{{- end -}}
{{- end -}}
